//go:build unix

package cli

import (
	"os/exec"
	"syscall"
)

// detach keeps the terminal's interrupt from a child: whoever started it stops it, after the checks.
func detach(child *exec.Cmd) { child.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
