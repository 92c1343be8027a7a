//go:build !unix

package deploy

import "time"

// processorTime is not known here.
func processorTime() time.Duration { return 0 }
