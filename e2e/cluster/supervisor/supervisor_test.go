package supervisor

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience is how long a condition may take to become true before a test fails.
const patience = 20 * time.Second

// TestMain lets the test binary play the programs the supervisor starts, and the supervisor itself.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Getenv("FAKE_CONTROL_PLANE") != "" {
		switch os.Args[1] {
		case "up":
			os.Exit(Main(os.Args[2:], os.Stdin, os.Stdout, os.Stderr))
		case "kubectl":
			fmt.Println(strings.Join(os.Args[2:], "|"), os.Getenv("KUBECONFIG"))
			os.Exit(0)
		case "etcd", "kube-scheduler":
			os.Exit(idle())
		case "kube-apiserver", "kube-controller-manager":
			os.Exit(fake(os.Args[1], os.Args[2:]))
		}
	}
	os.Exit(m.Run())
}

// idle is what a program does that nobody asks anything.
func idle() int {
	time.Sleep(time.Hour)
	return 9
}

func fake(name string, arguments []string) int {
	value := func(flag string) string {
		found := ""
		for _, argument := range arguments {
			if rest, ok := strings.CutPrefix(argument, "--"+flag+"="); ok {
				found = rest
			}
		}
		return found
	}
	behaviour := os.Getenv("FAKE_CONTROL_PLANE")
	switch {
	case name == "kube-controller-manager":
		if behaviour == "controller-manager-fails" {
			fmt.Fprintln(os.Stderr, "the fake controller-manager does not like you")
			return 3
		}
		return idle()
	case behaviour == "port-taken-once":
		if _, err := os.Stat("tried"); err != nil {
			_ = os.WriteFile("tried", nil, 0o600)
			fmt.Fprintln(os.Stderr, "listen tcp 127.0.0.1:"+value("secure-port")+": bind: address already in use")
			return 1
		}
	case behaviour == "apiserver-fails":
		fmt.Fprintln(os.Stderr, "unknown flag: "+arguments[len(arguments)-1])
		return 1
	}
	handler := http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
		switch {
		case behaviour == "never-ready":
			http.Error(response, "[-]etcd failed", http.StatusInternalServerError)
		case behaviour == "controller-manager-fails" && request.URL.Path != "/readyz":
			http.NotFound(response, request)
		}
	})
	err := http.ListenAndServeTLS("127.0.0.1:"+value("secure-port"), value("tls-cert-file"), value("tls-private-key-file"), handler)
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// supervised is a supervisor in a process of its own.
type supervised struct {
	t        *testing.T
	command  *exec.Cmd
	input    io.WriteCloser
	output   *bufio.Reader
	problems *bytes.Buffer
	dir      string
}

func up(t *testing.T, behaviour string, arguments ...string) *supervised {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "the plane's")
	t.Setenv("FAKE_CONTROL_PLANE", behaviour)
	command := exec.Command(os.Args[0], append([]string{"up", "--dir", dir}, arguments...)...)
	input, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	problems := &bytes.Buffer{}
	command.Stderr = problems
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	// A supervisor that never ends, or never gets ready, fails its test instead of hanging it.
	limit := time.AfterFunc(patience, func() { _ = command.Process.Kill() })
	t.Cleanup(func() {
		limit.Stop()
		_ = command.Process.Kill()
	})
	return &supervised{t, command, input, bufio.NewReader(output), problems, dir}
}

func (plane *supervised) ready() Ready {
	plane.t.Helper()
	line, err := plane.output.ReadBytes('\n')
	if err != nil {
		_ = plane.command.Wait()
		plane.t.Fatalf("no ready line: %v\n%s", err, plane.problems)
	}
	ready := Ready{}
	if err := json.Unmarshal(line, &ready); err != nil {
		plane.t.Fatalf("%v in %s", err, line)
	}
	return ready
}

func (plane *supervised) exitCode() int {
	plane.t.Helper()
	_, _ = io.Copy(io.Discard, plane.output)
	_ = plane.command.Wait()
	return plane.command.ProcessState.ExitCode()
}

func (plane *supervised) isGone(ready Ready) {
	plane.t.Helper()
	plane.childrenAreGone(ready)
	if _, err := os.Stat(plane.dir); !os.IsNotExist(err) {
		plane.t.Errorf("the directory is still there: %v", err)
	}
}

func (plane *supervised) childrenAreGone(ready Ready) {
	plane.t.Helper()
	if len(ready.Children) < 2 {
		plane.t.Fatalf("the ready line names too few children: %v", ready.Children)
	}
	for name, pid := range ready.Children {
		for end := time.Now().Add(patience); running(pid); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				plane.t.Errorf("%s, pid %d, is still running", name, pid)
				break
			}
		}
	}
}

// running is false for a process that is gone or dead and not yet collected by its new parent.
func running(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	_, rest, _ := bytes.Cut(stat, []byte(") "))
	return !bytes.HasPrefix(rest, []byte("Z"))
}

func TestTheEndOfStandardInputTakesEverythingDown(t *testing.T) {
	plane := up(t, "good", "--controller-manager", "--scheduler")
	ready := plane.ready()
	for name, pid := range ready.Children {
		if !running(pid) {
			t.Errorf("%s is not running while the control plane is up", name)
		}
	}
	if len(ready.Children) != 4 {
		t.Errorf("four programs were asked for, not %v", ready.Children)
	}
	said, err := exec.Command(ready.Kubectl, "get", "a b", "it's").Output()
	if expected := "get|a b|it's " + ready.Kubeconfig + "\n"; string(said) != expected {
		t.Errorf("the kubectl script said %q, not %q: %v", said, expected, err)
	}
	if _, err := os.Stat(ready.Kubeconfig); err != nil {
		t.Error(err)
	}
	if err := plane.input.Close(); err != nil {
		t.Fatal(err)
	}
	if code := plane.exitCode(); code != 0 {
		t.Errorf("exit code %d\n%s", code, plane.problems)
	}
	plane.isGone(ready)
}

func TestATerminationSignalTakesEverythingDown(t *testing.T) {
	plane := up(t, "good")
	ready := plane.ready()
	if err := plane.command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := plane.exitCode(); code != 0 {
		t.Errorf("exit code %d\n%s", code, plane.problems)
	}
	plane.isGone(ready)
}

func TestChildrenDieWithAKilledSupervisor(t *testing.T) {
	plane := up(t, "good")
	ready := plane.ready()
	if err := plane.command.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	plane.exitCode()
	plane.childrenAreGone(ready)
}

func TestADeadChildEndsTheSupervisorWithAReason(t *testing.T) {
	plane := up(t, "good")
	ready := plane.ready()
	if err := syscall.Kill(ready.Children["etcd"], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if code := plane.exitCode(); code != 1 {
		t.Errorf("exit code %d", code)
	}
	if !strings.Contains(plane.problems.String(), "etcd died (signal: killed)") {
		t.Errorf("the reason is missing: %s", plane.problems)
	}
	plane.isGone(ready)
}

func TestAFailedStartTellsTheEndOfTheLog(t *testing.T) {
	plane := up(t, "apiserver-fails", "--apiserver-arg=--nonsense=1")
	if code := plane.exitCode(); code != 1 {
		t.Errorf("exit code %d", code)
	}
	for _, expected := range []string{"kube-apiserver", "exit status 1", "unknown flag: --nonsense=1"} {
		if !strings.Contains(plane.problems.String(), expected) {
			t.Errorf("%q is missing in: %s", expected, plane.problems)
		}
	}
	if _, err := os.Stat(plane.dir); !os.IsNotExist(err) {
		t.Errorf("the directory is still there: %v", err)
	}
}

func TestAControllerManagerThatEndsFailsTheStart(t *testing.T) {
	plane := up(t, "controller-manager-fails", "--controller-manager")
	if code := plane.exitCode(); code != 1 {
		t.Errorf("exit code %d", code)
	}
	if !strings.Contains(plane.problems.String(), "the fake controller-manager does not like you") {
		t.Errorf("the reason is missing: %s", plane.problems)
	}
}

func TestAPortTakenBySomebodyElseIsTriedAgain(t *testing.T) {
	plane := up(t, "port-taken-once")
	ready := plane.ready()
	if len(ready.Children) != 2 {
		t.Errorf("etcd and one API server should run, not %v", ready.Children)
	}
	_ = plane.input.Close()
	if code := plane.exitCode(); code != 0 {
		t.Errorf("exit code %d\n%s", code, plane.problems)
	}
	plane.isGone(ready)
}

func TestAChosenPortThatIsTakenIsAnError(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	plane := up(t, "good", "--apiserver-port="+port)
	if code := plane.exitCode(); code != 1 {
		t.Errorf("exit code %d", code)
	}
	if !strings.Contains(plane.problems.String(), "address already in use") {
		t.Errorf("the reason is missing: %s", plane.problems)
	}
}

func TestAServerThatNeverGetsReadyEndsTheStartWithItsLastAnswer(t *testing.T) {
	plane := up(t, "never-ready", "--start-timeout=1s")
	if code := plane.exitCode(); code != 1 {
		t.Errorf("exit code %d", code)
	}
	for _, expected := range []string{"gave up waiting for the API server", "[-]etcd failed"} {
		if !strings.Contains(plane.problems.String(), expected) {
			t.Errorf("%q is missing in: %s", expected, plane.problems)
		}
	}
}

func TestKeptDataStays(t *testing.T) {
	plane := up(t, "good", "--keep-data")
	ready := plane.ready()
	_ = plane.input.Close()
	if code := plane.exitCode(); code != 0 {
		t.Errorf("exit code %d\n%s", code, plane.problems)
	}
	plane.childrenAreGone(ready)
	if _, err := os.Stat(filepath.Join(plane.dir, "kubeconfig")); err != nil {
		t.Error(err)
	}
}

func TestADirectoryWithContentIsRefusedAndLeftAlone(t *testing.T) {
	dir := t.TempDir()
	precious := filepath.Join(dir, "precious")
	if err := os.WriteFile(precious, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	err := run(context.Background(), Options{Directory: dir, StartTimeout: time.Second}, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("no refusal: %v", err)
	}
	if _, err := os.Stat(precious); err != nil {
		t.Error(err)
	}
}

func TestArgumentsThatMakeNoSenseAreExitCodeTwo(t *testing.T) {
	for _, arguments := range [][]string{{"--nonsense"}, {"extra"}, {"--apiserver-port=many"}} {
		problems := &bytes.Buffer{}
		if code := Main(arguments, strings.NewReader(""), io.Discard, problems); code != 2 || problems.Len() == 0 {
			t.Errorf("%v: exit code %d, %q", arguments, code, problems)
		}
	}
	if _, err := parse([]string{"--help"}, io.Discard); err != flag.ErrHelp {
		t.Errorf("--help is no error: %v", err)
	}
}

func TestExtraArgumentsComeInOrder(t *testing.T) {
	options, err := parse([]string{"--apiserver-arg=--a=1", "--apiserver-arg", "--b=2"}, io.Discard)
	if err != nil || strings.Join(options.APIServerArguments, " ") != "--a=1 --b=2" {
		t.Errorf("%v %v", options.APIServerArguments, err)
	}
}
