package hub_test

import (
	"context"
	"runtime"
	"testing"
	"weak"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/notify/hub"
)

// forgetful keeps nothing of what it is told, and notes whether others do while its reader is waited for.
type forgetful struct {
	told weak.Pointer[byte]
	kept []bool
}

func (f *forgetful) Put(d *hub.Delivery) (left bool, err error) {
	if len(d.Messages) == 0 {
		return false, nil
	}
	f.told = weak.Make(&d.Messages[0].Data[0])
	return true, nil
}

func (f *forgetful) Flush() error {
	runtime.GC()
	f.kept = append(f.kept, f.told.Value() != nil)
	return nil
}

func (*forgetful) Close(string) {}

// Promise 12: of what readers that do not read are told at first, which is the most that many of them cost, there
// is one copy, the sink's.
func TestAnOpeningKeepsNothingThatItsSinkHas(t *testing.T) {
	t.Parallel()
	onStage(t, nil, func(s *stage) {
		s.land(landing(stream(1), "", 1))
		f := &forgetful{}
		conn, err := s.hub.Open(context.Background(), &hub.Request{Streams: watches(stream(1))}, f)
		require.NoError(t, err)
		require.Equal(t, []bool{false}, f.kept)
		conn.Close()
	})
}
