//go:build unix && !race

package endtoend

import "time"

// patience is how long anything may take that is bound to happen; long, since tests share their machine.
const patience = time.Minute

// What a process may take, beyond what it takes when idle.
const (
	crowdMemory  = 300 << 20
	bodiesMemory = 700 << 20
)
