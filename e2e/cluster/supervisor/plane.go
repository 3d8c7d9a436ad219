package supervisor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// portAttempts is how often a start is tried again because somebody else took the port between our choosing it
// and the API server's binding it. kube-apiserver cannot be given a bound socket or port 0.
const portAttempts = 5

// serviceRange is where Service addresses come from; its first address is the API server's name in the cluster.
const serviceRange = "10.96.0.0/16"

const serviceAccountIssuer = "https://kubernetes.default.svc"

// controlPlane is the set of running children. Only one goroutine may use it.
type controlPlane struct {
	options   Options
	directory string
	children  []*child
	// died receives every child that ends without having been asked to.
	died chan *child
}

// start returns when the API server is ready and, with a controller-manager, when that has done its first work.
func (plane *controlPlane) start(ctx context.Context) (Ready, error) {
	credentials, err := writeCertificates(plane.directory, time.Now())
	if err != nil {
		return Ready{}, err
	}
	// etcd speaks over a unix socket in our private directory: no port to collide on, and nobody else on the
	// machine can reach it. The path is relative to the directory all children run in, because socket paths
	// are limited to 107 bytes.
	if err := plane.launch("etcd",
		"--name=default",
		"--data-dir="+filepath.Join(plane.directory, "etcd"),
		"--listen-client-urls=unix://etcd.sock",
		// What a member tells other members must be host:port; there are none.
		"--advertise-client-urls=http://127.0.0.1:2379",
		"--listen-peer-urls=unix://etcd-peer.sock",
		"--unsafe-no-fsync",
		"--log-level=warn",
	); err != nil {
		return Ready{}, err
	}
	server, client, err := plane.startAPIServer(ctx, credentials)
	if err != nil {
		return Ready{}, err
	}
	kubeconfig := plane.path("kubeconfig")
	if err := credentials.writeKubeconfig(kubeconfig, server, credentials.admin); err != nil {
		return Ready{}, err
	}
	if plane.options.ControllerManager {
		if err := plane.startControllerManager(ctx, credentials, server, client); err != nil {
			return Ready{}, err
		}
	}
	if plane.options.Scheduler {
		if err := plane.startScheduler(credentials, server); err != nil {
			return Ready{}, err
		}
	}
	kubectl, err := plane.writeKubectl(kubeconfig)
	if err != nil {
		return Ready{}, err
	}
	ready := Ready{
		Kubectl:    kubectl,
		Kubeconfig: kubeconfig,
		Server:     server,
		Pid:        os.Getpid(),
		Directory:  plane.directory,
		Children:   map[string]int{},
	}
	for _, child := range plane.children {
		ready.Children[child.name] = child.command.Process.Pid
	}
	return ready, nil
}

func (plane *controlPlane) startAPIServer(ctx context.Context, credentials *credentials) (string, *apiClient, error) {
	for attempt := 1; ; attempt++ {
		port := plane.options.APIServerPort
		if port == 0 {
			free, err := freePort()
			if err != nil {
				return "", nil, err
			}
			port = free
		}
		server := "https://127.0.0.1:" + strconv.Itoa(port)
		client := newAPIClient(server, credentials)
		arguments := append([]string{
			"--etcd-servers=unix://etcd.sock",
			"--bind-address=127.0.0.1",
			"--advertise-address=127.0.0.1",
			// The Endpoints of the kubernetes Service may not hold a loopback address; without nodes nobody reads them.
			"--endpoint-reconciler-type=none",
			"--secure-port=" + strconv.Itoa(port),
			"--tls-cert-file=" + credentials.path("apiserver.crt"),
			"--tls-private-key-file=" + credentials.path("apiserver.key"),
			"--client-ca-file=" + credentials.path("ca.crt"),
			"--service-account-key-file=" + credentials.path("service-account.pub"),
			"--service-account-signing-key-file=" + credentials.path("service-account.key"),
			"--service-account-issuer=" + serviceAccountIssuer,
			"--service-cluster-ip-range=" + serviceRange,
			"--authorization-mode=Node,RBAC",
			"--allow-privileged=true",
		}, plane.options.APIServerArguments...)
		if err := plane.launch("kube-apiserver", arguments...); err != nil {
			return "", nil, err
		}
		err := plane.await(ctx, "the API server to become ready", func() error { return client.get(ctx, "/readyz") })
		if err == nil {
			return server, client, nil
		}
		var dead *deadChild
		taken := errors.As(err, &dead) && dead.name == "kube-apiserver" && dead.addressInUse()
		if taken && plane.options.APIServerPort == 0 && attempt < portAttempts {
			plane.forget("kube-apiserver")
			continue
		}
		return "", nil, err
	}
}

func (plane *controlPlane) startControllerManager(ctx context.Context, credentials *credentials, server string, client *apiClient) error {
	kubeconfig := plane.path("controller-manager.kubeconfig")
	if err := credentials.writeKubeconfig(kubeconfig, server, credentials.controllerManager); err != nil {
		return err
	}
	if err := plane.launch("kube-controller-manager",
		"--kubeconfig="+kubeconfig,
		"--secure-port=0",
		"--leader-elect=false",
		"--use-service-account-credentials=true",
		"--service-account-private-key-file="+credentials.path("service-account.key"),
		"--root-ca-file="+credentials.path("ca.crt"),
		"--service-cluster-ip-range="+serviceRange,
		// Deleting a namespace asks for every kind there is; the default of 20 a second makes that slow.
		"--kube-api-qps=200",
		"--kube-api-burst=400",
	); err != nil {
		return err
	}
	// Its own health says nothing about its controllers; the first account they make does.
	return plane.await(ctx, "the controller-manager to make the default service account", func() error {
		return client.get(ctx, "/api/v1/namespaces/default/serviceaccounts/default")
	})
}

func (plane *controlPlane) startScheduler(credentials *credentials, server string) error {
	kubeconfig := plane.path("scheduler.kubeconfig")
	if err := credentials.writeKubeconfig(kubeconfig, server, credentials.scheduler); err != nil {
		return err
	}
	return plane.launch("kube-scheduler", "--kubeconfig="+kubeconfig, "--secure-port=0", "--leader-elect=false")
}

// writeKubectl writes a script a person can call by one path. It keeps what kubectl learns of the API in our
// directory, because a later control plane may have the same port and another API.
func (plane *controlPlane) writeKubectl(kubeconfig string) (string, error) {
	path := plane.path("kubectl")
	content := fmt.Sprintf("#!/bin/sh\nexport KUBECONFIG=%s KUBECACHEDIR=%s\nexec %s kubectl \"$@\"\n",
		quoted(kubeconfig), quoted(plane.path("kubectl-cache")), quoted(plane.options.Program))
	if err := os.WriteFile(path, []byte(content), 0o700); err != nil {
		return "", fmt.Errorf("cannot write the script for kubectl: %w", err)
	}
	return path, nil
}

// quoted is a word a shell takes literally.
func quoted(word string) string {
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// await asks until the check is content, a child dies, or ctx ends; the error names what was last seen.
func (plane *controlPlane) await(ctx context.Context, what string, check func() error) error {
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		last := check()
		if last == nil {
			return nil
		}
		select {
		case dead := <-plane.died:
			return dead.failure("ended while waiting for " + what)
		case <-ctx.Done():
			return fmt.Errorf("gave up waiting for %s: %w; last answer: %w\n%s", what, ctx.Err(), last, plane.tails())
		case <-ticker.C:
		}
	}
}

func (plane *controlPlane) path(name string) string { return filepath.Join(plane.directory, name) }

// freePort is free now; it may be taken by the time it is used.
func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("no free port on 127.0.0.1: %w", err)
	}
	defer func() { _ = listener.Close() }()
	address, isTCP := listener.Addr().(*net.TCPAddr)
	if !isTCP {
		return 0, fmt.Errorf("the listener on 127.0.0.1 has no port: %s", listener.Addr())
	}
	return address.Port, nil
}
