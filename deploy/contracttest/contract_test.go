package contracttest_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/store/feed"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/intake"
	"github.com/ticketed/doorman/commands/problem"
	"github.com/ticketed/doorman/deploy/contracttest"
	"github.com/ticketed/doorman/notify"
	"github.com/ticketed/doorman/notify/hub"
	"github.com/ticketed/doorman/notify/sse"
	"github.com/ticketed/doorman/projections/query"
)

// The endpoints keep the contract over a doorman in memory.
func TestContract(t *testing.T) {
	t.Parallel()
	types, err := aggregate.NewRegistry(contracttest.Types()...)
	require.NoError(t, err)
	w := newWorld(types)
	waiters := notify.NewWaiters(notify.WaitersConfig{Reader: w})
	follow, err := feed.New(feed.Config{Reader: w})
	require.NoError(t, err)
	w.observe = func(covered store.Range, result *aggregate.Result) {
		waiters.Observe(covered, result)
		follow.Observe(covered, result)
	}
	require.NoError(t, waiters.Start(t.Context()))
	require.NoError(t, follow.Start(t.Context()))

	limits := commands.LimitsView{MaxArray: 256, MaxBody: 256 << 10, MaxDepth: 32, MaxWatched: 256, ParkedPerStream: 256,
		ParkedPerSession: 1000, Parked: 50_000, ParkSeconds: 30}
	reading, err := query.New(query.Config{
		Reader: w, Catalog: w, Epoch: epoch, Type: types.Type, Limits: limits,
		Register: func(id commands.ID) (query.Waiter, bool) { return waiters.Register(id, notify.AnyPayload) },
		Watch:    func(stream commands.Stream) (query.StreamWaiter, bool) { return waiters.Watch(stream) },
	})
	require.NoError(t, err)
	door, err := intake.New(intake.Config{
		Allows: func(streamType string, policy commands.Policy, command string) (known, allowed bool) {
			served, known := types.Type(streamType)
			return known, known && served.Allows(policy, command)
		},
		Send: w.send, SendAll: w.sendAll, Refusal: func(error) commands.Reason { return commands.Unavailable },
		Register: func(id commands.ID, hash commands.Hash) (intake.Waiter, bool) { return waiters.Register(id, hash) },
		Mark:     waiters.Mark, Conflicted: waiters.Conflicted, Tell: reading.Tell,
	})
	require.NoError(t, err)
	mux := http.NewServeMux()
	mux.Handle("POST /v1/commands", door)
	reading.Mount(mux)
	const beat = 300 * time.Millisecond
	push, err := hub.New(hub.Config{
		Feed: follow, Reader: w, States: reading.States(), Epoch: "test", Tell: reading.Tell, Beat: beat,
		Serves: func(streamType string) bool { _, known := types.Type(streamType); return known },
	})
	require.NoError(t, err)
	require.NoError(t, push.Start(t.Context()))
	notifications, err := sse.New(sse.Config{Hub: push})
	require.NoError(t, err)
	notifications.Mount(mux)
	mux.HandleFunc("/", elsewhere)
	server := httptest.NewServer(mux)

	sweeping, stop := context.WithCancel(context.Background())
	var swept sync.WaitGroup
	swept.Go(func() { w.sweep(sweeping) })
	t.Cleanup(func() {
		require.NoError(t, push.Stop())
		server.Close()
		stop()
		swept.Wait()
		require.NoError(t, follow.Stop())
		require.NoError(t, waiters.Stop())
	})
	contracttest.Run(t, contracttest.Doorman{URL: server.URL, RejectParked: w.rejectParked, Limits: limits, Beat: beat})
}

// elsewhere stands in for the server's router.
func elsewhere(w http.ResponseWriter, r *http.Request) {
	p := problem.New(commands.NotFound, "there is no such address")
	switch {
	case r.URL.Path == "/v1/commands", r.URL.Path == "/v1/notifications":
		p = problem.New(commands.MethodNotAllowed, "not here")
		p.Allowed = []string{"GET", "HEAD", "POST"}
	case r.URL.Path == "/v1/streams", strings.HasPrefix(r.URL.Path, "/v1/commands/"), strings.HasPrefix(r.URL.Path, "/v1/streams/"):
		p = problem.New(commands.MethodNotAllowed, "not here")
		p.Allowed = []string{"GET", "HEAD"}
	}
	problem.Write(w, p)
}
