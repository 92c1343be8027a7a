package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/client"
)

// tally counts what becomes of the commands of a file, each of which ends in one of its methods once.
type tally struct {
	path string

	mu       sync.Mutex
	sent     int // lines, without those sent again on purpose
	repeats  int
	landed   int
	rejected map[commands.Reason]int
	refused  map[commands.Reason]int
	unsent   int                     // no answer said that it was accepted
	open     map[commands.Status]int // no outcome came in time
	failed   int                     // did not end as its line expects
	failures []string                // the first of them
}

// namedFailures is how many are told by line.
const namedFailures = 10

func newTally(path string) *tally {
	return &tally{path: path, rejected: map[commands.Reason]int{}, refused: map[commands.Reason]int{},
		open: map[commands.Status]int{}}
}

// followed is what is kept of a line until its outcome is known.
type followed struct {
	id     commands.ID
	number int32
	want   string
}

func (l *line) follow() followed {
	return followed{id: l.command.ID, number: int32(l.number), want: l.want} //nolint:gosec // a file of 2^31 lines
}

func (f *followed) name() string { return "command " + f.id.String() }

// ended counts an outcome.
func (t *tally) ended(f *followed, view *commands.CommandView) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if view.Status == commands.StatusLanded {
		t.landed++
		if f.want != wantLanded {
			t.fail(f, f.name()+" landed, and was expected to be "+f.want)
		}
		return
	}
	t.rejected[view.Reason]++
	if f.want != wantRejected && f.want != string(view.Reason) {
		t.fail(f, f.name()+" was rejected: "+string(view.Reason)+": "+view.Detail)
	}
}

// turnedAway counts a command of which nothing was accepted, or of which that is not known.
func (t *tally) turnedAway(f *followed, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if refused, ok := errors.AsType[*client.RefusedError](err); ok && refused.Problem.Code != "" {
		t.refused[refused.Problem.Code]++
		if f.want == string(refused.Problem.Code) {
			return
		}
	} else {
		t.unsent++
	}
	t.fail(f, err.Error())
}

// leftOpen counts an accepted command without an outcome.
func (t *tally) leftOpen(f *followed, view *commands.CommandView) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.open[view.Status]++
	switch view.Status {
	case commands.StatusParked:
		t.fail(f, f.name()+" is parked still, waiting for "+view.WaitsFor.String())
	default:
		t.fail(f, f.name()+" was accepted, and its outcome is not known")
	}
}

// again counts a line that was sent a second time on purpose; what is answered to it must not differ.
func (t *tally) again(f *followed, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.repeats++
	if refused, ok := errors.AsType[*client.RefusedError](err); ok && string(refused.Problem.Code) != f.want {
		t.fail(f, "sent again: "+err.Error())
	}
}

func (t *tally) began() {
	t.mu.Lock()
	t.sent++
	t.mu.Unlock()
}

func (t *tally) settled() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.landed + sum(t.rejected) + sum(t.refused) + t.unsent
}

func (t *tally) fail(f *followed, what string) {
	t.failed++
	if len(t.failures) < namedFailures {
		t.failures = append(t.failures, fmt.Sprintf("%s:%d: %s", t.path, f.number, what))
	}
}

func sum[K comparable](counts map[K]int) int {
	total := 0
	for _, n := range counts {
		total += n
	}
	return total
}

// report writes the summary.
func (t *tally) report(w io.Writer, took time.Duration, notes string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "sent\t%d\t%s\n", t.sent, notes)
	fmt.Fprintf(table, "landed\t%d\t%.0f/s, all in %.1f s\n", t.landed, float64(t.landed)/max(took.Seconds(), 1e-9), took.Seconds())
	fmt.Fprintf(table, "rejected\t%d\t%s\n", sum(t.rejected), breakdown(t.rejected))
	fmt.Fprintf(table, "refused\t%d\t%s\n", sum(t.refused), breakdown(t.refused))
	if t.unsent > 0 {
		fmt.Fprintf(table, "not sent\t%d\tno answer said that they were accepted\n", t.unsent)
	}
	if open := sum(t.open); open > 0 {
		fmt.Fprintf(table, "open\t%d\t%s\n", open, breakdown(t.open))
	}
	return table.Flush()
}

// breakdown names counts, the largest first.
func breakdown[K ~string](counts map[K]int) string {
	keys := slices.SortedFunc(maps.Keys(counts), func(a, b K) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	parts := make([]string, len(keys))
	for i, key := range keys {
		parts[i] = fmt.Sprintf("%d %s", counts[key], key)
	}
	return strings.Join(parts, ", ")
}
