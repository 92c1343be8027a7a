//go:build unix

package endtoend

import (
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate/store/postgres/postgrestest"
	"github.com/ticketed/doorman/bus/rabbitmq/rabbitmqtest"
	"github.com/ticketed/doorman/commands"
)

// blips are outages that are over before anybody gives up.
const blips = 3

// DESIGN sections 2 and 7, database away: nothing is rejected for it, nothing is lost, and it goes on by
// itself; promise 1 "across restarts of Postgres".
func TestPostgresGoesAwayAndComesBack(t *testing.T) {
	t.Parallel()
	t.Run("the network is cut", func(t *testing.T) {
		t.Parallel()
		goesAway(t, newCable(t), postgrestest.Schema(t))
	})
	t.Run("the server crashes", func(t *testing.T) {
		t.Parallel()
		goesAway(t, ownServer{postgrestest.NewServer(t, rabbitmqtest.FreeAddress(t))}, "doorman")
	})
}

func goesAway(t *testing.T, database supply, schema string) {
	t.Helper()
	random := seed(t)
	p := onPostgresAt(t, database.url(), schema)
	server := p.spawn(t)
	require.True(t, server.says("the store does not answer; trying again for a while"))
	unavailable(t, p, "/readyz", "it is starting")
	unavailable(t, p, "/v1/streams/ledger/x", "the program is starting")
	noEventSourceGivesUp(t, p)
	database.on(t)
	require.True(t, server.says("msg=ready"), "%s", server.log)

	load := newPlan(random, 150, 3)
	s := newSender(t, p.url(), 16)
	s.add(load.requests())
	accepted := func(more int) {
		t.Helper()
		before := len(s.commands())
		s.await("commands are accepted", func() bool { return len(s.accepted) >= before+more })
	}
	s.resume()
	for range blips {
		accepted(load.size/10 + random.IntN(load.size/20))
		linger(random)
		database.off(t)
		database.on(t)
	}
	accepted(load.size / 10)
	database.off(t)
	unavailable(t, p, "/readyz", "store")
	unavailable(t, p, "/v1/streams/ledger/x", "the store cannot be read now")
	s.await("somebody is told", func() bool { return s.refused["503 fate_unknown"]+s.refused["503 unavailable"] > 0 })
	database.on(t)
	accepted(load.size / 10)
	isParked(t, p, s.among(load.waiting))

	// The process dies while the database is away.
	database.off(t)
	server.kill()
	s.pause()
	database.on(t)
	p.start(t)
	remembers(t, p, s, load, map[commands.ID]commands.CommandView{})
	s.sendAll()
	s.add(alone(load.heldBack))
	s.sendAll()
	require.Len(t, s.commands(), load.size)
	require.Zero(t, s.torn)
	found := audit(t, p.url(), s.commands())
	t.Logf("%d landed, rejected %v; refused %v, %d without an answer", found.landed, found.rejected, s.refused, s.cut)
}

// noEventSourceGivesUp: one that comes back while the program starts is not answered, which is what it takes for a
// reason to come again.
func noEventSourceGivesUp(t *testing.T, p *place) {
	t.Helper()
	request, err := http.NewRequestWithContext(soon(t), http.MethodGet, p.url()+"/v1/notifications?stream=ledger/x", http.NoBody)
	require.NoError(t, err)
	request.Header.Set("Accept", "text/event-stream")
	response, err := newHTTP(t, 1).Do(request)
	if err == nil {
		response.Body.Close()
	}
	require.ErrorIs(t, err, io.EOF)
}

// unavailable asks for a path until that is how it is answered.
func unavailable(t *testing.T, p *place, path, why string) {
	t.Helper()
	h, ctx := newHTTP(t, 1), soon(t)
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url()+path, http.NoBody)
		require.NoError(t, err)
		response, err := h.Do(request)
		require.NoError(t, err)
		text, err := io.ReadAll(response.Body)
		response.Body.Close()
		require.NoError(t, err)
		if response.StatusCode == http.StatusServiceUnavailable {
			require.Contains(t, string(text), `"code":"unavailable"`)
			require.Contains(t, string(text), why)
			require.NotEmpty(t, response.Header.Get("Retry-After"))
			return
		}
		pass(10 * time.Millisecond) // the program has something to do
	}
}
