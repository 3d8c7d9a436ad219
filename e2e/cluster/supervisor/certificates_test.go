package supervisor

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestTheServerCertificateIsGoodForLoopbackAndOnlyUnderOurAuthority(t *testing.T) {
	now := time.Now()
	made, err := writeCertificates(t.TempDir(), now)
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(made.path("apiserver.crt"))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(content)
	server, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"127.0.0.1", "localhost", "10.96.0.1", "kubernetes.default.svc"} {
		if _, err := server.Verify(x509.VerifyOptions{Roots: made.pool, DNSName: name, CurrentTime: now}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	other, err := writeCertificates(t.TempDir(), now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := server.Verify(x509.VerifyOptions{Roots: other.pool, DNSName: "127.0.0.1", CurrentTime: now}); err == nil {
		t.Error("another control plane's authority accepts our server")
	}
	if _, err := server.Verify(x509.VerifyOptions{Roots: made.pool, CurrentTime: now.Add(validity + time.Hour)}); err == nil {
		t.Error("the certificate never expires")
	}
}

func TestTheAdministratorIsAClientInSystemMasters(t *testing.T) {
	now := time.Now()
	made, err := writeCertificates(t.TempDir(), now)
	if err != nil {
		t.Fatal(err)
	}
	options := x509.VerifyOptions{Roots: made.pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, CurrentTime: now}
	if _, err := made.admin.certificate.Verify(options); err != nil {
		t.Error(err)
	}
	if groups := made.admin.certificate.Subject.Organization; len(groups) != 1 || groups[0] != "system:masters" {
		t.Errorf("groups: %v", groups)
	}
	if groups := made.scheduler.certificate.Subject.Organization; len(groups) != 0 {
		t.Errorf("the scheduler has groups: %v", groups)
	}
}

func TestPrivateKeysAreForTheirOwnerOnly(t *testing.T) {
	made, err := writeCertificates(t.TempDir(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig := made.path("kubeconfig")
	if err := made.writeKubeconfig(kubeconfig, "https://127.0.0.1:1", made.admin); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{made.path("apiserver.key"), made.path("service-account.key"), kubeconfig} {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", path, info.Mode(), err)
		}
	}
}

func TestATailIsTheLastWholeLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	text := strings.Repeat("an earlier line that is long enough to matter\n", 200) + "the last line\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	found := tail(path)
	if len(found) > tailBytes || !strings.HasPrefix(found, "an earlier") || !strings.HasSuffix(found, "\nthe last line") {
		t.Errorf("%q", found)
	}
	if missing := tail(path + ".missing"); !strings.Contains(missing, "no such file") {
		t.Errorf("%q", missing)
	}
}
