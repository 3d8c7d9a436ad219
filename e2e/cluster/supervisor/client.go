package supervisor

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// apiClient asks the API server simple questions while it starts.
type apiClient struct {
	server string
	http   *http.Client
}

// newAPIClient trusts only our own CA: another API server that got the port first is not taken for ours.
func newAPIClient(server string, credentials *credentials) *apiClient {
	return &apiClient{server: server, http: &http.Client{
		Timeout: 2 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{
			MinVersion:   tls.VersionTLS13,
			RootCAs:      credentials.pool,
			Certificates: []tls.Certificate{credentials.admin.keyPair()},
		}},
	}}
}

// get is nil for 200 and an error that tells the answer for everything else.
func (client *apiClient) get(ctx context.Context, path string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, client.server+path, nil)
	if err != nil {
		return err
	}
	response, err := client.http.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, 4096))
	if err != nil {
		return fmt.Errorf("GET %s: %w", path, err)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s: %s", path, response.Status, strings.TrimSpace(string(body)))
	}
	return nil
}
