// Command printernizer-node is what Kubernetes runs on a node, in one program: kubelet and kube-proxy as sub-commands.
// They are the unmodified upstream modules in the versions of go.mod, which are those of the control plane beside it.
package main

import (
	"fmt"
	"os"

	"context"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

var components = map[string]func() int{
	"kubelet":    func() int { return cli.Run(kubelet.NewKubeletCommand(context.Background())) },
	"kube-proxy": func() int { return cli.Run(proxy.NewProxyCommand()) },
}

func main() {
	if len(os.Args) < 2 || components[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "What Kubernetes runs on a node. Sub-commands: kubelet, kube-proxy; each has --help.")
		os.Exit(2)
	}
	name := os.Args[1]
	// Both read os.Args themselves.
	os.Args = os.Args[1:]
	os.Exit(components[name]())
}
