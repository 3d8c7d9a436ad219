// Command printernizer-cluster is a Kubernetes control plane in one program: etcd, kube-apiserver,
// kube-controller-manager, kube-scheduler and kubectl as sub-commands, and `up`, which starts the first
// four as its children, tells how to reach them, and takes them down with itself.
//
// It is for tests and for trying Printernizer out: it runs no nodes, keeps no data safe and listens on
// loopback only. The five programs are the unmodified upstream modules in the versions of go.mod.
package main

import (
	"fmt"
	"os"

	"printernizer.io/e2e/cluster/supervisor"
)

const usage = `A Kubernetes control plane in one program.

  up                       start etcd and kube-apiserver, print one JSON line when ready, end with stdin
  etcd                     etcd
  kube-apiserver           the API server
  kube-controller-manager  the controllers (CronJob, Job, HPA, garbage collection, namespace deletion)
  kube-scheduler           the scheduler
  kubectl                  the command line tool

Each sub-command has --help.
`

func main() {
	if len(os.Args) < 2 {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	name := os.Args[1]
	// Every program of this binary reads os.Args itself, some of them before their flags are parsed, so each
	// must see the arguments as if it had been called by its own name.
	os.Args = os.Args[1:]
	switch name {
	case "up":
		os.Exit(supervisor.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	case "help", "-h", "--help":
		fmt.Print(usage)
	default:
		component, known := components[name]
		if !known {
			fmt.Fprintf(os.Stderr, "there is no sub-command %q\n\n%s", name, usage)
			os.Exit(2)
		}
		os.Exit(component())
	}
}
