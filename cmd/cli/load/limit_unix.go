//go:build unix

package load

import "syscall"

// openFiles is how many files this process may have open; 0: not known.
func openFiles() int {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil || limit.Cur > 1<<30 {
		return 0
	}
	return int(limit.Cur) //nolint:gosec,unconvert // bounded above; its type differs between systems
}
