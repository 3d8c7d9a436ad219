package supervisor

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

const (
	// tailBytes of a log become part of an error.
	tailBytes = 4000
	// stopTimeout is how long a child may take to end by itself when its data is to be kept.
	stopTimeout = 10 * time.Second
)

// child is one running program and its log file.
type child struct {
	name    string
	log     string
	command *exec.Cmd
	// ended is closed when the process is gone; result is set before that.
	ended  chan struct{}
	result error
}

// deadChild is the error of a child that ended without having been asked to.
type deadChild struct {
	name, what, tail string
	cause            error
}

func (dead *deadChild) Error() string {
	reason := "exit code 0"
	if dead.cause != nil {
		reason = dead.cause.Error()
	}
	return fmt.Sprintf("%s %s (%s); the end of its log:\n%s", dead.name, dead.what, reason, dead.tail)
}

func (dead *deadChild) Unwrap() error { return dead.cause }

func (dead *deadChild) addressInUse() bool {
	return strings.Contains(dead.tail, "address already in use")
}

func (child *child) failure(what string) error {
	return &deadChild{name: child.name, what: what, tail: tail(child.log), cause: child.result}
}

// launch starts a sub-command of our program. Its output goes to <directory>/<name>.log.
func (plane *controlPlane) launch(name string, arguments ...string) error {
	path := plane.path(name + ".log")
	log, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("cannot write the log of %s: %w", name, err)
	}
	defer func() { _ = log.Close() }()
	command := exec.Command(plane.options.Program, append([]string{name}, arguments...)...)
	command.Dir = plane.directory
	command.Stdout, command.Stderr = log, log
	command.SysProcAttr = childAttributes()
	if err := command.Start(); err != nil {
		return fmt.Errorf("cannot start %s: %w", name, err)
	}
	child := &child{name: name, log: path, command: command, ended: make(chan struct{})}
	plane.children = append(plane.children, child)
	go func() {
		child.result = command.Wait()
		close(child.ended)
		plane.died <- child
	}()
	return nil
}

// forget drops an ended child, so that it can be launched again.
func (plane *controlPlane) forget(name string) {
	kept := plane.children[:0]
	for _, child := range plane.children {
		if child.name != name {
			kept = append(kept, child)
		}
	}
	plane.children = kept
}

// stop ends all children, last started first, and returns when they are gone. Data that is thrown away needs no
// orderly end; data that is kept gets one.
func (plane *controlPlane) stop() {
	for index := len(plane.children) - 1; index >= 0; index-- {
		child := plane.children[index]
		if plane.options.KeepData {
			_ = child.command.Process.Signal(syscall.SIGTERM)
			select {
			case <-child.ended:
				continue
			case <-time.After(stopTimeout):
			}
		}
		_ = child.command.Process.Kill()
	}
	for _, child := range plane.children {
		<-child.ended
	}
}

// tails is the end of every child's log.
func (plane *controlPlane) tails() string {
	var all strings.Builder
	for _, child := range plane.children {
		fmt.Fprintf(&all, "the end of the log of %s:\n%s\n", child.name, tail(child.log))
	}
	return all.String()
}

// tail is the last whole lines of a file, at most tailBytes of them, or the reason why they cannot be read.
func tail(path string) string {
	file, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = file.Close() }()
	size, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return err.Error()
	}
	start := max(size-tailBytes, 0)
	content := make([]byte, size-start)
	if _, err := file.ReadAt(content, start); err != nil && err != io.EOF {
		return err.Error()
	}
	text := string(content)
	if start > 0 {
		if _, whole, found := strings.Cut(text, "\n"); found {
			text = whole
		}
	}
	return strings.TrimRight(text, "\n")
}
