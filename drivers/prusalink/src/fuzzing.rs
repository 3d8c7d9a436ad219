//! The readers of a printer's answers, without connection, for the fuzz targets. Nothing else calls this.

use crate::parse;

/// Reads a body as each of the answers; gives the texts that could reach a person.
pub fn answers(body: &[u8]) -> Vec<String> {
    let mut texts = vec![parse::refusal(body)];
    let object = match parse::object("GET /x", body) {
        Ok(object) => object,
        Err(error) => {
            texts.push(error.to_string());
            return texts;
        }
    };
    match parse::version(&object) {
        Ok(version) => texts.extend([Some(version.text), version.api, version.firmware].into_iter().flatten()),
        Err(error) => texts.push(error.to_string()),
    }
    match parse::status(&object) {
        Ok(status) => texts.extend(status.trouble),
        Err(error) => texts.push(error.to_string()),
    }
    let info = parse::info(&object);
    texts.extend([info.serial, info.hostname, info.name, info.location].into_iter().flatten());
    let job = parse::job(&object);
    texts.extend(job.file.into_iter().flat_map(|file| [file.name, file.display_name, file.path]).flatten());
    match parse::storage_list("GET /x", &object) {
        Ok(storages) => texts.extend(storages.into_iter().filter_map(|storage| storage.name)),
        Err(error) => texts.push(error.to_string()),
    }
    let file = parse::file(&object);
    texts.extend([file.name, file.display_name, file.kind, parse::material(&object)].into_iter().flatten());
    texts
}
