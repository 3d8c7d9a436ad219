package supervisor

import "syscall"

// childAttributes let the kernel kill a child when we die, however we die, and keep a Ctrl-C on the terminal from
// reaching it before we have decided what to do.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
