// Package supervisor starts a Kubernetes control plane as children of its own process and takes it down again.
//
// It promises that nothing outlives it: the children die with it even when it is killed (on Linux), and it ends
// itself when its standard input is closed, so a caller that is killed leaves neither processes nor files
// behind. It never listens on anything but loopback and unix sockets, and never reuses a directory that has
// something in it, because it removes that directory at the end.
package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// Options are the arguments of `up`.
type Options struct {
	// Directory for certificates, kubeconfig, logs and etcd's data. Empty or missing; removed at the end.
	Directory string
	// KeepData leaves Directory in place at the end, and lets etcd and the API server finish their writes.
	KeepData bool
	// APIServerPort is 0 for a free one.
	APIServerPort int
	// ControllerManager and Scheduler say whether these two run as well.
	ControllerManager, Scheduler bool
	// APIServerArguments are handed to kube-apiserver after our own, so that they win.
	APIServerArguments []string
	// StartTimeout is how long everything together may take until the API server is ready.
	StartTimeout time.Duration
	// Program is the binary that has etcd, kube-apiserver and the others as sub-commands.
	Program string
}

// Ready is the line printed on standard output once the API server answers /readyz.
type Ready struct {
	Kubectl    string         `json:"kubectl"`
	Kubeconfig string         `json:"kubeconfig"`
	Server     string         `json:"server"`
	Pid        int            `json:"pid"`
	Directory  string         `json:"directory"`
	Children   map[string]int `json:"children"`
}

// Main is the sub-command `up`: it returns the exit code of the process. 0: it was asked to end, by the end of
// standard input or by a signal. 1: the control plane did not start, or a part of it died. 2: wrong arguments.
func Main(arguments []string, input io.Reader, output, problems io.Writer) int {
	options, err := parse(arguments, problems)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		return 2
	}
	// A child is told to die when the *thread* that started it ends. This goroutine starts all of them and
	// stays until the end, so it must not share its thread.
	runtime.LockOSThread()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		// What is written to us does not matter, only that the writer is gone.
		_, _ = io.Copy(io.Discard, input)
		cancel()
	}()
	if err := run(ctx, options, output); err != nil {
		fmt.Fprintln(problems, err)
		return 1
	}
	return 0
}

func parse(arguments []string, problems io.Writer) (Options, error) {
	options := Options{}
	flags := flag.NewFlagSet("up", flag.ContinueOnError)
	flags.SetOutput(problems)
	flags.StringVar(&options.Directory, "dir", "", "empty or new directory for certificates, logs and data; removed at the end (default: a temporary one)")
	flags.BoolVar(&options.KeepData, "keep-data", false, "leave the directory in place at the end")
	flags.IntVar(&options.APIServerPort, "apiserver-port", 0, "port of the API server on 127.0.0.1; 0 takes a free one")
	flags.BoolVar(&options.ControllerManager, "controller-manager", false, "run kube-controller-manager as well")
	flags.BoolVar(&options.Scheduler, "scheduler", false, "run kube-scheduler as well")
	flags.DurationVar(&options.StartTimeout, "start-timeout", 2*time.Minute, "how long the start may take")
	flags.Func("apiserver-arg", "one more argument for kube-apiserver, as in --apiserver-arg=--audit-log-path=-; may be repeated", func(value string) error {
		options.APIServerArguments = append(options.APIServerArguments, value)
		return nil
	})
	if err := flags.Parse(arguments); err != nil {
		return options, err
	}
	if flags.NArg() > 0 {
		err := fmt.Errorf("up takes no argument %q; see up --help", flags.Arg(0))
		fmt.Fprintln(problems, err)
		return options, err
	}
	program, err := os.Executable()
	if err != nil {
		err = fmt.Errorf("cannot find the path of this program, which is needed to start its sub-commands: %w", err)
		fmt.Fprintln(problems, err)
		return options, err
	}
	options.Program = program
	return options, nil
}

// run returns nil when ctx ended after or during a good start, and an error for everything else.
func run(ctx context.Context, options Options, output io.Writer) (err error) {
	directory, err := prepareDirectory(options.Directory)
	if err != nil {
		return err
	}
	defer func() {
		if options.KeepData {
			return
		}
		if removal := os.RemoveAll(directory); removal != nil && err == nil {
			err = fmt.Errorf("the control plane is down, but its directory is still there; remove it by hand: %w", removal)
		}
	}()
	plane := &controlPlane{options: options, directory: directory, died: make(chan *child, 4)}
	defer plane.stop()
	startContext, cancel := context.WithTimeout(ctx, options.StartTimeout)
	defer cancel()
	ready, err := plane.start(startContext)
	if err != nil {
		if ctx.Err() != nil {
			return nil // asked to end before it was up: that is no failure of the start
		}
		return err
	}
	line, err := json.Marshal(ready)
	if err != nil {
		return fmt.Errorf("cannot encode the ready line: %w", err)
	}
	if _, err := fmt.Fprintf(output, "%s\n", line); err != nil {
		return fmt.Errorf("cannot tell the caller that the control plane is ready: %w", err)
	}
	select {
	case <-ctx.Done():
		return nil
	case dead := <-plane.died:
		return dead.failure("died")
	}
}

// prepareDirectory makes the directory only we may read (it will hold private keys), and refuses one with content.
func prepareDirectory(wanted string) (string, error) {
	if wanted == "" {
		directory, err := os.MkdirTemp("", "printernizer-cluster-")
		if err != nil {
			return "", fmt.Errorf("cannot make a temporary directory; set TMPDIR or use --dir: %w", err)
		}
		return directory, nil
	}
	directory, err := filepath.Abs(wanted)
	if err != nil {
		return "", fmt.Errorf("cannot use --dir %q: %w", wanted, err)
	}
	if err := os.MkdirAll(directory, 0o700); err != nil {
		return "", fmt.Errorf("cannot make the directory of --dir: %w", err)
	}
	entries, err := os.ReadDir(directory)
	if err != nil {
		return "", fmt.Errorf("cannot read the directory of --dir: %w", err)
	}
	if len(entries) > 0 {
		return "", fmt.Errorf("--dir %s is not empty; it is removed at the end, so it has to be a new or empty one", directory)
	}
	if err := os.Chmod(directory, 0o700); err != nil {
		return "", fmt.Errorf("cannot make --dir private: %w", err)
	}
	return directory, nil
}
