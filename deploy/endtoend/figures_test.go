//go:build unix && !race

package endtoend

import "time"

// patience is how long anything may take that is bound to happen; long, since tests share their machine.
const patience = time.Minute

// crowd is how many connections there are at once, whose arrays of three are more than the 4096 that a lane queues.
const crowd = 2000

// What a process may take, beyond what it takes when idle.
const (
	crowdMemory  = 300 << 20
	bodiesMemory = 700 << 20
)
