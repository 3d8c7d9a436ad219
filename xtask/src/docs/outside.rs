//! The book's own preprocessor. A folder's page is `README.md` in the repository and `index.html` in a book. And pages link to files of the repository that are no pages: in the repository these links
//! lead to them, in a book they would lead nowhere. With the repository's address (`output.html.git-repository-url`) they
//! lead there; without one only their words stay.

use std::path::Path;

use serde_json::Value;

use super::links;

/// The folder of the book's pages, from the root.
const PAGES: &str = "docs";

/// The book with the links of its pages made fit, from what mdBook writes to a preprocessor: `[context, book]`.
pub fn book(mut input: Value) -> Value {
    let repository = input[0]["config"]["output"]["html"]["git-repository-url"].as_str().map(str::to_owned);
    let mut book = input[1].take();
    pages(&mut book, repository.as_deref());
    book
}

/// Every chapter, wherever it stands: an object that has a path and a content.
fn pages(part: &mut Value, repository: Option<&str>) {
    match part {
        Value::Array(items) => items.iter_mut().for_each(|item| pages(item, repository)),
        Value::Object(fields) => {
            let source = ["source_path", "path"].iter().find_map(|name| fields.get(*name)?.as_str());
            let path = source.map(|source| Path::new(PAGES).join(source));
            if let (Some(path), Some(Value::String(content))) = (path, fields.get_mut("content")) {
                *content = page(&path, content, repository);
            }
            fields.values_mut().for_each(|field| pages(field, repository));
        }
        _ => {}
    }
}

fn page(path: &Path, text: &str, repository: Option<&str>) -> String {
    let mut result = text.to_owned();
    // From the end, so that what is changed moves nothing that is still to be looked at.
    for range in links::targets(text).into_iter().rev() {
        let target = &text[range.clone()];
        if target.starts_with('#') || links::is_elsewhere(target) {
            continue;
        }
        let file = target.split('#').next().unwrap_or_default();
        let Some(leads_to) = links::resolve(path, file) else { continue };
        if leads_to.starts_with(PAGES) {
            // The page of a folder has another name in the book.
            if let Some(folder) = file.strip_suffix("README.md") {
                result.replace_range(range.start..range.start + file.len(), &format!("{folder}index.md"));
            }
            continue;
        }
        match (repository, opening(text, range.start)) {
            (Some(repository), _) => {
                let anchor = &target[file.len()..];
                let address = format!("{}/blob/HEAD/{}{anchor}", repository.trim_end_matches('/'), leads_to.display());
                result.replace_range(range, &address);
            }
            (None, Some(begin)) => {
                let end = text[range.end..].find(')').map_or(range.end, |end| range.end + end + 1);
                let words = text[begin + 1..range.start - 2].to_owned();
                result.replace_range(begin..end, &words);
            }
            (None, None) => {}
        }
    }
    result
}

/// Where the bracket of the link stands whose target begins here.
fn opening(text: &str, target: usize) -> Option<usize> {
    let mut open = 0;
    for (at, character) in text[..target - 2].char_indices().rev() {
        match character {
            ']' => open += 1,
            '[' if open == 0 => return Some(at),
            '[' => open -= 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const TEXT: &str = "See [the `rights`](../examples/operator/rbac.yaml), [here](adr/README.md#c), [web](https://example.com) and \
                        [one](../README.md#see-it).";

    fn content(repository: Option<&str>) -> String {
        let chapter = json!({"Chapter": {"name": "A", "path": "a.md", "source_path": "a.md", "content": "x", "sub_items": [
            {"Chapter": {"name": "B", "path": "adr/index.md", "source_path": "adr/README.md", "content": "[r](../../README.md)",
                         "sub_items": []}}]}});
        let mut input = json!([{"config": {"output": {"html": {}}}}, {"items": [chapter, "Separator"]}]);
        input[0]["config"]["output"]["html"]["git-repository-url"] = repository.into();
        input[1]["items"][0]["Chapter"]["content"] = TEXT.into();
        let book = book(input);
        let chapter = &book["items"][0]["Chapter"];
        format!(
            "{} {}",
            chapter["content"].as_str().unwrap(),
            chapter["sub_items"][0]["Chapter"]["content"].as_str().unwrap()
        )
    }

    #[test]
    fn a_link_that_leaves_the_book_leads_to_the_repository() {
        assert_eq!(
            content(Some("https://git.example.com/p/")),
            "See [the `rights`](https://git.example.com/p/blob/HEAD/examples/operator/rbac.yaml), [here](adr/index.md#c), \
             [web](https://example.com) and [one](https://git.example.com/p/blob/HEAD/README.md#see-it). \
             [r](https://git.example.com/p/blob/HEAD/README.md)"
        );
    }

    #[test]
    fn without_a_repository_its_words_stay() {
        assert_eq!(content(None), "See the `rights`, [here](adr/index.md#c), [web](https://example.com) and one. r");
    }
}
