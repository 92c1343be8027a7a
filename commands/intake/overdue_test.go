package intake_test

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/intake"
)

func TestEachRequestIsGivenUpInItsOwnTime(t *testing.T) {
	t.Parallel()
	requests := []struct {
		at, heard, want time.Duration // since the beginning; never heard of when 0
		status          int
	}{
		{at: 0, want: 10 * time.Second, status: 503},
		{at: 3 * time.Second, heard: 12900 * time.Millisecond, want: 12900 * time.Millisecond, status: 202},
		{at: 5 * time.Second, heard: 8 * time.Second, want: 8 * time.Second, status: 202},
		{at: 6 * time.Second, want: 16 * time.Second, status: 503},
		{at: 30 * time.Second, want: 40 * time.Second, status: 503}, // after a while in which there was none
	}
	// Many begin and end while the first one waits, and are let go before it.
	for i := range 300 {
		many := requests[1]
		many.at = time.Second + time.Duration(i)*10*time.Millisecond
		many.heard = many.at + 15*time.Millisecond
		many.want = many.heard
		requests = append(requests, many)
	}
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		s := around()
		ids, heard := make([]string, len(requests)), map[string]time.Duration{}
		for i, request := range requests {
			ids[i] = commands.NewID().String()
			heard[ids[i]] = request.heard
		}
		s.Send = func(env *commands.Envelope, done func(error)) {
			if at := heard[env.ID.String()]; at > 0 {
				time.AfterFunc(at-time.Since(began), func() { done(nil) })
			}
		}
		in, err := intake.New(s.Config)
		require.NoError(t, err)
		var all sync.WaitGroup
		for i, request := range requests {
			all.Go(func() {
				time.Sleep(request.at)
				w := post(t.Context(), in, strings.NewReader(command(ids[i])))
				if w.Code != request.status || time.Since(began) != request.want {
					t.Errorf("the request at %v was answered %d at %v", request.at, w.Code, time.Since(began))
				}
			})
		}
		all.Wait()
	})
}

// What is heard of at the very moment at which it takes too long must not leave a signal to the next request.
func TestAnAnswerAtTheLastMomentIsNobodyElses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := around()
		s.AcceptWithin = time.Second
		var heard sync.Map
		s.Send = func(env *commands.Envelope, done func(error)) {
			id := env.ID.String()
			time.AfterFunc(s.AcceptWithin, func() {
				heard.Store(id, true)
				done(nil)
			})
		}
		in, err := intake.New(s.Config)
		require.NoError(t, err)
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for range 200 {
					id, began := commands.NewID().String(), time.Now()
					w := post(t.Context(), in, strings.NewReader(command(id)))
					took := time.Since(began)
					if _, known := heard.Load(id); w.Code == 202 && !known || w.Code != 202 && w.Code != 503 || took != s.AcceptWithin {
						t.Errorf("%s was answered %d after %v, heard of: %t", id, w.Code, took, known)
					}
				}
			})
		}
		all.Wait()
	})
}
