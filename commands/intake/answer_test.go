package intake_test

import (
	"context"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/intake"
)

// pieces notes in which pieces an answer was written.
type pieces struct {
	*httptest.ResponseRecorder
	sizes []int
}

func (p *pieces) Write(b []byte) (int, error) {
	p.sizes = append(p.sizes, len(b))
	return p.ResponseRecorder.Write(b)
}

// DESIGN section 5, promise 12: each rejection tells what its sender missed, which may be large; what an array of them
// comes to is neither held nor told as a whole.
func TestWhatAnArrayOfRejectionsTellsIsSentInParts(t *testing.T) {
	t.Parallel()
	s := around()
	s.Register = func(id commands.ID, hash commands.Hash) (intake.Waiter, bool) {
		return &waiter{outcome: &commands.Outcome{ID: id, Stream: stream42, Type: "add", Hash: hash, Reason: commands.StaleTicket,
			Root: id, RootReason: commands.StaleTicket, Position: 3}}, true
	}
	w := &pieces{ResponseRecorder: httptest.NewRecorder()}
	first := 0 // told before anything was written
	state := []byte(`"` + strings.Repeat("x", 1<<20) + `"`)
	s.Tell = func(_ context.Context, o *commands.Outcome) (commands.CommandView, error) {
		if len(w.sizes) == 0 {
			first++
		}
		view := commands.ViewOutcome("e1", o)
		view.FillIn(commands.Genesis, 7, state, nil)
		return view, nil
	}
	var all []string
	for range 30 {
		all = append(all, command(commands.NewID().String()))
	}
	in, err := intake.New(s.Config)
	require.NoError(t, err)
	r := httptest.NewRequestWithContext(t.Context(), "POST", "/v1/commands", strings.NewReader("["+strings.Join(all, ",")+"]"))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Prefer", "wait=5")
	in.ServeHTTP(w, r)
	require.Equal(t, 200, w.Code)
	require.Len(t, read[[]told](t, w.ResponseRecorder), 30)
	require.LessOrEqual(t, first, 4)
	require.Less(t, slices.Max(w.sizes), 2<<20)
}
