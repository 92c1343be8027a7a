package deploy

import (
	"bytes"
	"context"
	"hash/fnv"
	"log/slog"
	"net/url"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate/store/postgres/postgrestest"
	"github.com/ticketed/doorman/bus/rabbitmq/rabbitmqtest"
	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/commands/client"
)

// another is the configuration of one more process on the same store.
func another(c *Config, storeWait time.Duration) *Config {
	next := *c
	next.StoreWait = storeWait
	return &next
}

// refused starts a program that is one too many.
func refused(t *testing.T, c *Config) string {
	t.Helper()
	p, err := New(c, builtIn())
	require.NoError(t, err)
	err = p.Start(t.Context())
	require.Error(t, err)
	require.NoError(t, p.Stop())
	return err.Error()
}

func lands(t *testing.T, call *caller, c commands.Command) {
	t.Helper()
	told, err := call.Send(t.Context(), c, client.SendOptions{Wait: client.MaxWait})
	require.NoError(t, err)
	require.Equal(t, commands.StatusLanded, told.Status)
}

const tooMany = ". Without rabbitmq_url only one can: stop the other one, or give both the rabbitmq_url of one broker"

func TestWithoutRabbitMQASecondProcessOnASchemaDoesNotStart(t *testing.T) {
	t.Parallel()
	c := onPostgres(t)
	first, call := start(t, c)
	view, err := Lanes(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, "another process serves this store ("+c.storeName()+"): "+owner()+tooMany, refused(t, another(c, 0)))
	one := create(`{}`)
	lands(t, call, one)
	after, err := Lanes(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, view.List[0].Epoch, after.List[0].Epoch, "its lanes were left alone")

	// One that may wait starts when the first has ended, as in a restart.
	second, err := New(another(c, time.Minute), builtIn())
	require.NoError(t, err)
	started := make(chan error, 1)
	go func() { started <- second.Start(t.Context()) }()
	require.NoError(t, first.Stop())
	require.NoError(t, <-started)
	t.Cleanup(func() { require.NoError(t, second.Stop()) })
	lands(t, newCaller(t, second.URL()), patch(one.ID, `{"a":1}`))
}

func TestAProcessWithoutRabbitMQAndThoseWithItDoNotShareASchema(t *testing.T) {
	t.Parallel()
	c, _, broker := overRabbitMQ(t)
	alone := another(c, 0)
	alone.RabbitMQURL = ""
	gateway, worker := another(c, 30*time.Second), another(c, 0)
	gateway.Roles, worker.Roles = []string{RoleGateway}, []string{RoleWorker}
	p, _ := start(t, alone)
	broker.set(true) // the store is asked for first: what is refused leaves nothing at RabbitMQ
	require.Equal(t, "another process serves this store ("+c.storeName()+") without rabbitmq_url, which only one can: "+owner()+
		". Stop it, or give it the rabbitmq_url of this one", refused(t, worker))
	broker.set(false)
	require.NoError(t, p.Stop())

	_, call := start(t, gateway)
	start(t, another(worker, 30*time.Second))
	lands(t, call, create(`{}`))
	require.Equal(t, "another process serves this store ("+c.storeName()+"): "+owner()+", "+owner()+tooMany, refused(t, alone))
}

// A worker on other queues than the others would take lanes whose commands never reach it.
func TestAProcessOverOtherQueuesDoesNotStart(t *testing.T) {
	t.Parallel()
	c, _, broker := overRabbitMQ(t)
	_, call := start(t, c)
	address, err := url.Parse(c.RabbitMQURL)
	require.NoError(t, err)
	address.Path = "/elsewhere"
	prefix, host := another(c, 0), another(c, 0)
	prefix.RabbitMQPrefix, host.RabbitMQURL = c.RabbitMQPrefix+".other", address.String()
	broker.set(true) // it leaves nothing at RabbitMQ
	for place, other := range map[string]*Config{"/ " + prefix.RabbitMQPrefix: prefix, "elsewhere " + c.RabbitMQPrefix: host} {
		require.Equal(t, "other processes serve this store ("+c.storeName()+") over other queues: "+owner()+
			". Give this one their rabbitmq_prefix and the virtual host of their rabbitmq_url; its own are "+place, refused(t, other))
	}
	broker.set(false)
	require.NoError(t, call.AwaitReady(t.Context()))
	same := another(c, time.Minute)
	same.RabbitMQURL = rabbitmqtest.Config(t).URL
	start(t, same)
	lands(t, call, create(`{}`))
}

// Whoever waits for a store that several have together does not take it while their sessions are lost for a moment.
func TestAStoreIsNotTakenFromThoseWhoLoseTheirSessions(t *testing.T) {
	t.Parallel()
	c, way, _ := overRabbitMQ(t)
	holders := watchHold(t, c)
	p, call := start(t, c)
	waits := make(chan struct{}, 1)
	other := another(c, time.Minute)
	other.PostgresURL, other.RabbitMQPrefix = postgrestest.URL(), c.RabbitMQPrefix+".other"
	other.Log = slog.New(slog.NewTextHandler(heard{"waiting for it to end", waits}, nil))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	late, err := New(other, builtIn())
	require.NoError(t, err)
	started := make(chan error, 1)
	go func() { started <- late.Start(ctx) }()
	<-waits
	last := create(`{}`)
	lands(t, call, last)
	for range 3 {
		way.set(true)
		holders.become(0)
		<-time.After(200 * time.Millisecond) // it looks several times a second
		way.set(false)
		holders.become(1)
		last = patch(last.ID, `{"a":1}`)
		lands(t, call, last)
	}
	way.set(true)
	holders.become(0) // it was the first one's
	require.Empty(t, p.Failed())
	cancel()
	require.Error(t, <-started)
	way.set(false)
	require.NoError(t, late.Stop())
}

// A store that several had becomes free only when nobody has been seen to have it for a while: who waits no longer than that
// is told so, and not of processes that are gone.
func TestWhoStopsWaitingForAStoreThatHasBecomeFreeIsToldSo(t *testing.T) {
	t.Parallel()
	c, _, _ := overRabbitMQ(t)
	others := postgrestest.Connect(t)
	_, err := others.Exec(t.Context(), `select set_config('application_name', 'doorman hold 0123456789abcdef another one', false)`)
	require.NoError(t, err)
	_, err = others.Exec(t.Context(), `select pg_advisory_lock_shared($1)`, holdOn(c))
	require.NoError(t, err)
	require.Contains(t, refused(t, another(c, 0)), "over other queues: another one. Give this one their rabbitmq_prefix")
	waits := make(chan struct{}, 1)
	late := another(c, holdFree*9/10)
	late.Log = slog.New(slog.NewTextHandler(heard{"waiting for it to end", waits}, nil))
	closed := make(chan error, 1)
	go func() {
		<-waits
		closed <- others.Close(context.Background())
	}()
	require.Contains(t, refused(t, late), "over other queues until a moment ago: another one. Start this one again, or give it a longer store_wait")
	require.NoError(t, <-closed)
	start(t, another(c, time.Minute))
}

// heard tells of log lines with a text.
type heard struct {
	text string
	once chan<- struct{}
}

func (h heard) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte(h.text)) {
		select {
		case h.once <- struct{}{}:
		default:
		}
	}
	return len(line), nil
}

// What a process holds its store by is a session, and sessions end: as when the database is started again.
func TestAProcessGoesOnWhenWhatItHoldsItsStoreByIsLost(t *testing.T) {
	t.Parallel()
	c, way := onCuttablePostgres(t)
	holders := watchHold(t, c)
	p, call := start(t, c)
	one := create(`{}`)
	lands(t, call, one)
	way.set(true)
	holders.become(0)
	way.set(false)
	holders.become(1)
	require.Contains(t, refused(t, another(c, 0)), tooMany)
	lands(t, call, patch(one.ID, `{"a":1}`))
	require.Empty(t, p.Failed())
}

// A process may wait for RabbitMQ for a while after it has taken its store, and can lose that meanwhile.
func TestAProcessWatchesItsHoldWhileItWaitsForRabbitMQ(t *testing.T) {
	t.Parallel()
	for name, taken := range map[string]bool{"nobody took the store": false, "another process took the store": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, way, broker := overRabbitMQ(t)
			c.StoreWait = time.Minute
			broker.set(true)
			p, err := New(c, builtIn())
			require.NoError(t, err)
			started := make(chan error, 1)
			go func() { started <- p.Start(t.Context()) }()
			holders := watchHold(t, c)
			require.Eventually(t, broker.awaited, 30*time.Second, 10*time.Millisecond)
			holders.become(1)
			way.set(true)
			holders.become(0)
			if taken {
				direct := another(c, time.Minute)
				direct.PostgresURL, direct.RabbitMQURL = postgrestest.URL(), ""
				start(t, direct)
			}
			way.set(false)
			if taken {
				select {
				case err := <-started:
					require.ErrorContains(t, err, "while this process had no session of the database: another process serves this store")
				case <-time.After(c.StoreWait / 2):
					require.Fail(t, "it waits for RabbitMQ still")
				}
			} else {
				holders.become(1)
				broker.set(false)
				require.NoError(t, <-started)
			}
			require.NoError(t, p.Stop())
		})
	}
}

// holdOn is the lock by which a store is held.
func holdOn(c *Config) int64 {
	hash := fnv.New64a()
	hash.Write([]byte("doorman's hold on " + c.PostgresSchema))
	return int64(hash.Sum64())
}

// holdWatch counts the sessions that hold a store. Asking for the hold would take it from who asks again, and a connection for
// each look would slow down those who make theirs anew.
type holdWatch struct {
	t    *testing.T
	conn *pgx.Conn
	on   int64
}

func watchHold(t *testing.T, c *Config) *holdWatch {
	t.Helper()
	return &holdWatch{t, postgrestest.Connect(t), holdOn(c)}
}

func (h *holdWatch) count() (n int, err error) {
	err = h.conn.QueryRow(h.t.Context(), `
select count(*) from pg_locks where locktype = 'advisory' and granted and (classid::bigint << 32 | objid::bigint) = $1`,
		h.on).Scan(&n)
	return n, err
}

// become waits until there are so many.
func (h *holdWatch) become(n int) {
	h.t.Helper()
	require.Eventually(h.t, func() bool {
		held, err := h.count()
		return err == nil && held == n
	}, patience, 10*time.Millisecond)
}

func TestAProcessGoesOnWhenAnotherOneHadItsStoreForAMoment(t *testing.T) {
	t.Parallel()
	c, way := onCuttablePostgres(t)
	turnedAway := make(chan struct{}, 1)
	c.Log = slog.New(slog.NewTextHandler(heard{"another one serves the store; asking again", turnedAway}, nil))
	holders := watchHold(t, c)
	p, call := start(t, c)
	way.set(true)
	holders.become(0)
	passing := postgrestest.Connect(t)
	_, err := passing.Exec(t.Context(), `select pg_advisory_lock($1)`, holdOn(c))
	require.NoError(t, err)
	way.set(false)
	<-turnedAway
	<-time.After(holdEvery) // it looks once more
	require.NoError(t, passing.Close(t.Context()))
	lands(t, call, create(`{}`))
	<-time.After(holdLost)
	require.Empty(t, p.Failed())
	held, err := holders.count()
	require.NoError(t, err)
	require.Equal(t, 1, held)
}

func TestAProcessWhoseStoreAnotherOneTookMeanwhileEnds(t *testing.T) {
	t.Parallel()
	c, way := onCuttablePostgres(t)
	first, _ := start(t, c)
	way.set(true)
	direct := another(c, time.Minute)
	direct.PostgresURL = postgrestest.URL()
	second, call := start(t, direct)
	one := create(`{}`)
	lands(t, call, one)
	way.set(false)
	select {
	case err := <-first.Failed():
		require.Equal(t, "while this process had no session of the database: another process serves this store ("+c.storeName()+"): "+owner()+tooMany, err.Error())
	case <-time.After(time.Minute):
		require.Fail(t, "it goes on")
	}
	require.NoError(t, first.Stop())
	lands(t, call, patch(one.ID, `{"a":1}`))
	require.Empty(t, second.Failed())
}
