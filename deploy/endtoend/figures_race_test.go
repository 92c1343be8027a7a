//go:build unix && race

package endtoend

import "time"

// The race detector takes ten times as long, and remembers who touched what at several times the size of it.
const (
	patience     = 3 * time.Minute
	crowd        = 1600
	crowdMemory  = 2 << 30
	bodiesMemory = 3 << 30
)
