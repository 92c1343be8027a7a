package deploy

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/store/postgres"
	"github.com/ticketed/doorman/bus"
	"github.com/ticketed/doorman/bus/rabbitmq"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/client"
)

// said are the sentences of an operation.
type said struct {
	mu  sync.Mutex
	all []string
}

func (s *said) say(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, text)
}

func changeLanes(t *testing.T, c *Config, lanes int, within time.Duration) (*said, error) {
	t.Helper()
	s := &said{}
	return s, SetLanes(t.Context(), c, LanesChange{Lanes: lanes, By: t.Name(), Timeout: within, Say: s.say})
}

// changed is a program over RabbitMQ whose number of lanes was changed, with what it said.
func changed(t *testing.T, lanes int, adjust func(*Config)) (*Config, *Program, *caller) {
	t.Helper()
	c, _, _ := overRabbitMQ(t)
	if adjust != nil {
		adjust(c)
	}
	t.Cleanup(func() { // after the program has ended
		for generation := range uint64(2) {
			require.Eventually(t, func() bool { // the broker takes note of consumers' ends in its own time
				left, err := rabbitmq.DeleteUnused(context.Background(), c.lanesOf(generation, max(lanes, 16)))
				return err == nil && left == 0
			}, 30*time.Second, 50*time.Millisecond, "queues in use, or with something in them")
		}
	})
	p, call := start(t, c)
	s, err := changeLanes(t, c, lanes, time.Minute)
	require.NoError(t, err)
	require.Contains(t, s.all, fmt.Sprintf("There are %d lanes now; there were 16. Commands are taken again.", lanes))
	return c, p, call
}

// A gateway that froze while the number of lanes changed has frames on their way still: what was answered 202
// for them is judged. When none can come any more the old queues go.
func TestWhatComesLateForAnEarlierNumberOfLanesIsJudged(t *testing.T) {
	t.Parallel()
	c, _, call := changed(t, 5, nil)
	publisher, err := rabbitmq.NewPublisher(t.Context(), c.lanesOf(0, 16))
	require.NoError(t, err)
	defer func() { require.NoError(t, publisher.Close()) }()
	sender, err := bus.NewSender(publisher, bus.SenderConfig{Lanes: 16})
	require.NoError(t, err)
	var all []commands.ID
	for range 40 {
		c := create(`{}`)
		c.Stream.ID = c.ID.String()
		late := commands.Seal(c, time.Now())
		require.NoError(t, sender.SendWait(t.Context(), &late))
		all = append(all, late.ID)
	}
	for _, id := range all {
		view, err := call.Await(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, commands.StatusLanded, view.Status, "%s %s", view.Reason, view.Detail)
	}
}

func TestTheQueuesOfAnEarlierNumberOfLanesGoInTheEnd(t *testing.T) {
	t.Parallel()
	c, p, call := changed(t, 3, func(c *Config) { c.pastLanes = 300 * time.Millisecond })
	shared := p.store.(*postgres.Store)
	require.Eventually(t, func() bool {
		l, err := shared.Laning(t.Context())
		return err == nil && len(l.Past) == 0
	}, 30*time.Second, 20*time.Millisecond)
	states, err := rabbitmq.Inspect(t.Context(), c.lanesOf(0, 16))
	require.NoError(t, err)
	require.Len(t, states, 16)
	for _, state := range states {
		require.False(t, state.Exists, state.Topic)
	}
	view, err := call.Send(t.Context(), create(`{}`), client.SendOptions{Wait: client.MaxWait})
	require.NoError(t, err)
	require.Equal(t, commands.StatusLanded, view.Status)
}

func TestAChangeOfTheNumberOfLanesThatCannotBeDoneIsUndone(t *testing.T) {
	t.Parallel()
	c, _, _ := overRabbitMQ(t)
	c.Roles = []string{RoleGateway}
	p, call := start(t, c)
	stuck := create(`{}`)
	_, err := call.Send(t.Context(), stuck, client.SendOptions{})
	require.NoError(t, err)
	took := make(chan error, 1)
	go func() {
		_, err := changeLanes(t, c, 5, 15*time.Second) // all that is looked at meanwhile comes before that
		took <- err
	}()
	require.Eventually(t, func() bool {
		refused := create(`{}`)
		answer := call.do("POST", "/v1/commands", string(refused.AppendTo(nil)), "Content-Type: application/json")
		return answer.status == http.StatusServiceUnavailable && strings.Contains(answer.body, "the number of lanes is being changed") ||
			answer.status == http.StatusServiceUnavailable && strings.Contains(answer.body, `"code":"unavailable"`)
	}, 30*time.Second, 10*time.Millisecond)
	require.NoError(t, call.Ready(t.Context()), "a gateway is ready when bus and store answer")
	view, err := Lanes(t.Context(), c)
	require.NoError(t, err)
	require.NotNil(t, view.Change)
	_, err = changeLanes(t, c, 7, 3*time.Second)
	require.ErrorContains(t, err, "'doorman lanes abort' undoes it")
	for want, change := range map[string]func(*Config){
		"give the rabbitmq_prefix that ":    func(c *Config) { c.RabbitMQPrefix = "test_nobody" },
		"give its URL (rabbitmq_url) here ": func(c *Config) { c.RabbitMQURL = "" },
	} {
		other := *c
		change(&other)
		_, err = changeLanes(t, &other, 7, 3*time.Second)
		require.ErrorContains(t, err, want)
	}
	_, err = changeLanes(t, c, 129, 3*time.Second)
	require.ErrorContains(t, err, "the number of lanes: 129 is not between 1 and 128: over RabbitMQ each takes three of the files")
	err = <-took
	require.ErrorContains(t, err, "queued frames are worked off, for which at least one process with the role worker must live")
	require.ErrorContains(t, err, "; everything goes on with 16 lanes")
	require.Eventually(t, func() bool {
		next := create(`{}`)
		return call.do("POST", "/v1/commands", string(next.AppendTo(nil)), "Content-Type: application/json").status == http.StatusAccepted
	}, 30*time.Second, 10*time.Millisecond)
	require.Equal(t, 16, p.store.Identity().Lanes)
	undone, err := AbortLanes(t.Context(), c)
	require.NoError(t, err)
	require.False(t, undone)
}

func TestWithoutABrokerTheNumberOfLanesChangesAtRestOnly(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]*Config{"sqlite": Defaults(), "postgres": onPostgres(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.PostgresURL == "" {
				c.DataDir = t.TempDir()
			}
			c.Listen, c.AdminListen, c.Log = "127.0.0.1:0", "127.0.0.1:0", onPostgres(t).Log
			p, err := New(c, builtIn())
			require.NoError(t, err)
			require.NoError(t, p.Start(t.Context()))
			_, err = changeLanes(t, c, 5, time.Minute)
			require.ErrorContains(t, err, "stop it, ")
			view, err := Lanes(t.Context(), c)
			require.NoError(t, err)
			require.Equal(t, 16, view.Lanes)
			require.NotEmpty(t, view.List[15].Owner)
			require.NoError(t, p.Stop())

			for _, lanes := range []int{129, 5} { // the first is too many over RabbitMQ alone
				_, err = changeLanes(t, c, lanes, time.Minute)
				require.NoError(t, err)
			}
			view, err = Lanes(t.Context(), c)
			require.NoError(t, err)
			require.Len(t, view.List, 5)
			again := *c
			_, call := start(t, &again)
			told, err := call.Send(t.Context(), create(`{}`), client.SendOptions{Wait: client.MaxWait})
			require.NoError(t, err)
			require.Equal(t, commands.StatusLanded, told.Status, "nobody configured a number, so the store's holds")

			// DESIGN section 7: a process configured otherwise refuses to start.
			other := *c
			other.Lanes, other.DataDir = 4, c.DataDir
			if c.PostgresURL == "" {
				return // its folder is in use
			}
			refused, err := New(&other, builtIn())
			require.NoError(t, err)
			err = refused.Start(t.Context())
			require.ErrorIs(t, err, store.ErrSchema)
			require.ErrorContains(t, err, "has 5 lanes and 4 are configured")
		})
	}
}

// A process with a bus of its own that was not seen by the operation ends with a clear message.
func TestAProcessWhoseNumberOfLanesWasChangedUnderItEnds(t *testing.T) {
	t.Parallel()
	c := onPostgres(t)
	p, _ := start(t, c)
	shared := p.store.(*postgres.Store)
	id, err := shared.BeginLaneChange(t.Context(), 5, t.Name(), time.Minute)
	require.NoError(t, err)
	require.NoError(t, shared.FinishLaneChange(t.Context(), id))
	select {
	case err := <-p.Failed():
		require.ErrorIs(t, err, store.ErrLanesChanged)
	case <-time.After(30 * time.Second):
		require.Fail(t, "it goes on")
	}
}
