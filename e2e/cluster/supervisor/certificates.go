package supervisor

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// validity of every certificate: longer than any test or demo, too short to be mistaken for an installation.
const validity = 30 * 24 * time.Hour

// identity is a certificate with its private key.
type identity struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	// certificatePEM and keyPEM are the same two as files have them.
	certificatePEM, keyPEM []byte
}

func (identity *identity) keyPair() tls.Certificate {
	return tls.Certificate{Certificate: [][]byte{identity.certificate.Raw}, PrivateKey: identity.key}
}

// credentials is everything a control plane needs to trust itself, and three users of it.
type credentials struct {
	directory                           string
	authority                           *identity
	pool                                *x509.CertPool
	admin, controllerManager, scheduler *identity
}

func (credentials *credentials) path(name string) string {
	return filepath.Join(credentials.directory, name)
}

// writeCertificates makes a new authority and, signed by it, the API server's certificate and those of its users,
// and the key pair for service account tokens. The files the programs read are written to directory.
func writeCertificates(directory string, now time.Time) (*credentials, error) {
	authority, err := newIdentity(nil, &x509.Certificate{
		Subject:               pkix.Name{CommonName: "printernizer-cluster-ca"},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}, now)
	if err != nil {
		return nil, err
	}
	made := &credentials{directory: directory, authority: authority, pool: x509.NewCertPool()}
	made.pool.AddCert(authority.certificate)
	server, err := newIdentity(authority, &x509.Certificate{
		Subject:     pkix.Name{CommonName: "kube-apiserver"},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames: []string{
			"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
		},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv4(10, 96, 0, 1)},
	}, now)
	if err != nil {
		return nil, err
	}
	// The API server grants what these names may do: system:masters everything, the other two by its own roles.
	users := []struct {
		target *(*identity)
		name   pkix.Name
	}{
		{&made.admin, pkix.Name{CommonName: "printernizer-admin", Organization: []string{"system:masters"}}},
		{&made.controllerManager, pkix.Name{CommonName: "system:kube-controller-manager"}},
		{&made.scheduler, pkix.Name{CommonName: "system:kube-scheduler"}},
	}
	for _, user := range users {
		*user.target, err = newIdentity(authority, &x509.Certificate{
			Subject:     user.name,
			KeyUsage:    x509.KeyUsageDigitalSignature,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		}, now)
		if err != nil {
			return nil, err
		}
	}
	private, public, err := serviceAccountKey()
	if err != nil {
		return nil, err
	}
	for name, content := range map[string][]byte{
		"ca.crt":              authority.certificatePEM,
		"apiserver.crt":       server.certificatePEM,
		"apiserver.key":       server.keyPEM,
		"service-account.key": private,
		"service-account.pub": public,
	} {
		if err := os.WriteFile(made.path(name), content, 0o600); err != nil {
			return nil, fmt.Errorf("cannot write %s: %w", name, err)
		}
	}
	return made, nil
}

// newIdentity signs the template with the authority, or with itself where there is none.
func newIdentity(authority *identity, template *x509.Certificate, now time.Time) (*identity, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("cannot make a private key: %w", err)
	}
	template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("cannot make a serial number: %w", err)
	}
	// An hour back, for machines whose clocks step while the cluster starts.
	template.NotBefore, template.NotAfter = now.Add(-time.Hour), now.Add(validity)
	parent, signer := template, key
	if authority != nil {
		parent, signer = authority.certificate, authority.key
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		return nil, fmt.Errorf("cannot sign the certificate of %s: %w", template.Subject, err)
	}
	certificate, err := x509.ParseCertificate(raw)
	if err != nil {
		return nil, fmt.Errorf("cannot read back the certificate of %s: %w", template.Subject, err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("cannot encode the key of %s: %w", template.Subject, err)
	}
	return &identity{
		certificate:    certificate,
		key:            key,
		certificatePEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}),
		keyPEM:         pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded}),
	}, nil
}

// serviceAccountKey is RSA because some readers of the published keys still expect that.
func serviceAccountKey() (private, public []byte, err error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot make the service account key: %w", err)
	}
	encoded, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot encode the service account key: %w", err)
	}
	private = pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	public = pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: encoded})
	return private, public, nil
}

// writeKubeconfig writes a file that holds all it refers to, so that it can be copied elsewhere.
func (credentials *credentials) writeKubeconfig(path, server string, user *identity) error {
	text := base64.StdEncoding.EncodeToString
	content := fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: printernizer
clusters:
- name: printernizer
  cluster:
    server: %s
    certificate-authority-data: %s
users:
- name: %s
  user:
    client-certificate-data: %s
    client-key-data: %s
contexts:
- name: printernizer
  context:
    cluster: printernizer
    user: %s
`, server, text(credentials.authority.certificatePEM),
		user.certificate.Subject.CommonName, text(user.certificatePEM), text(user.keyPEM), user.certificate.Subject.CommonName)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		return fmt.Errorf("cannot write the kubeconfig: %w", err)
	}
	return nil
}
