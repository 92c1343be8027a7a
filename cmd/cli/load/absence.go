package load

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ticketed/doorman/commands"
)

// errGone: nobody has answered at the server's address for a while.
var errGone = errors.New("the server has gone")

// absence tells a server that is being started anew from one that has gone.
type absence struct{ since time.Time }

// after takes what became of an attempt to reach the server. Once attempts have failed for long enough the
// error is errGone with the last failure.
func (a *absence) after(err error, patience time.Duration) error {
	if err == nil {
		a.since = time.Time{}
		return nil
	}
	if a.since.IsZero() {
		a.since = time.Now()
	}
	if time.Since(a.since) >= patience {
		return fmt.Errorf("%w: %w", errGone, err)
	}
	return err
}

// countsText is "rate_limited 3, unavailable 7".
func countsText(counts map[commands.Reason]int) string {
	if len(counts) == 0 {
		return "none"
	}
	var parts []string
	for _, reason := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%s %d", reason, counts[reason]))
	}
	return strings.Join(parts, ", ")
}
