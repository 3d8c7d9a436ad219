//go:build !linux

package supervisor

import "syscall"

// childAttributes cannot ask the kernel to kill a child with us here: only an orderly end takes the children down.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
