package load

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/bus/rabbitmq"
	"github.com/ticketed/doorman/bus/rabbitmq/rabbitmqtest"
)

// relayed has the fake take what comes over a broker, each message as if it had been posted, and answers.
type relayed struct {
	t       *testing.T
	fake    *fake
	channel *amqp.Channel
	running sync.WaitGroup

	mu sync.Mutex // a channel is for one at a time
}

func (r *relayed) Ready() error  { return nil }
func (r *relayed) UnderWay() int { return 0 }

func (r *relayed) Take(messages []*rabbitmq.Incoming) {
	for _, m := range messages {
		m.Settle()
		r.running.Go(func() {
			message := m.Message()
			post := httptest.NewRequest(http.MethodPost, "/v1/commands", strings.NewReader(string(message.Body)))
			post.Header.Set("Content-Type", message.ContentType)
			if message.ReplyTo != "" {
				post.Header.Set("Prefer", "wait=30")
			}
			answer := httptest.NewRecorder()
			r.fake.ServeHTTP(answer, post)
			if message.ReplyTo == "" {
				return
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			err := r.channel.Publish("", message.ReplyTo, false, false, //nolint:staticcheck // there is no context
				amqp.Publishing{CorrelationId: message.CorrelationID, Body: answer.Body.Bytes()})
			if err != nil {
				r.t.Errorf("answer: %v", err)
			}
		})
	}
}

// startFakeOverAMQP is a fake that commands come to over the shared broker.
func startFakeOverAMQP(t *testing.T, lie lies) (*fake, Config) {
	t.Helper()
	f, url := startFake(t, lie)
	config := rabbitmqtest.Config(t)
	channel, err := rabbitmqtest.Connect(t).Channel()
	require.NoError(t, err)
	r := &relayed{t: t, fake: f, channel: channel}
	consumer, err := rabbitmq.NewIngress(t.Context(), rabbitmq.IngressConfig{Config: config}, r)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, consumer.Close())
		r.running.Wait()
	})
	cfg := small(url)
	cfg.AMQP, cfg.AMQPPrefix = config.URL, config.Prefix
	return f, cfg
}

// Over AMQP each shape of load is counted as truly as over HTTP.
func TestCountsAreTrueOverAMQP(t *testing.T) {
	t.Parallel()
	for name, shape := range map[string]func(*Config){
		"many streams":       func(*Config) {},
		"one hot stream":     func(c *Config) { c.Streams, c.Count = 1, 300 },
		"arrays":             func(c *Config) { c.Array, c.WaitShare = 50, -1 },
		"everything at once": func(c *Config) { c.OutOfOrder, c.Duplicate, c.Stale = 0.3, 0.1, 0.05 },
		"at a rate":          func(c *Config) { c.Rate, c.Count, c.WaitShare = 2000, 500, 1 },
		"nobody waits":       func(c *Config) { c.WaitShare = -1 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, cfg := startFakeOverAMQP(t, lies{})
			shape(&cfg)
			r, err := Run(t.Context(), cfg)
			require.NoError(t, err)
			require.Empty(t, r.Failures)
			require.True(t, r.OverAMQP)
			require.Eventually(t, func() bool { // what was sent twice may be under way still
				server.mu.Lock()
				defer server.mu.Unlock()
				return server.posts >= r.Posts && server.repeats >= r.Doubles
			}, 30*time.Second, time.Millisecond)
			requireSame(t, server, r)
		})
	}
}

func TestALostCommandIsFoundOutOverAMQP(t *testing.T) {
	t.Parallel()
	_, cfg := startFakeOverAMQP(t, lies{lose: 100})
	cfg.WaitShare, cfg.Settle = -1, 10*time.Second
	r, err := Run(t.Context(), cfg)
	require.NoError(t, err)
	require.NotEmpty(t, r.Failures)
	require.Contains(t, r.Failures[0], "1 commands that were accepted and have no outcome")
}

// A broker that was away is connected to again, and what was under way is sent again under the same ids.
func TestTheBrokersConnectionMayBreak(t *testing.T) {
	t.Parallel()
	server, cfg := startFakeOverAMQP(t, lies{})
	proxy := rabbitmqtest.NewProxy(t, cfg.AMQP)
	cfg.AMQP, cfg.Count, cfg.Rate, cfg.WaitShare = proxy.URL(), 2000, 2000, -1
	confirmed, lost := 0, make(chan struct{})
	proxy.Forget(func(class, method uint16) bool { // from one confirmation on, without which the run does not end
		const basic, ack = 60, 80
		if class != basic || method != ack {
			return false
		}
		if confirmed++; confirmed == 100 {
			close(lost)
		}
		return confirmed >= 100
	})
	go func() {
		select {
		case <-lost:
		case <-t.Context().Done():
		}
		proxy.Mute(true) // so that it is not made up for before the cut
		proxy.Forget(nil)
		proxy.Cut()
		proxy.Mute(false)
	}()
	r, err := Run(t.Context(), cfg)
	require.NoError(t, err)
	require.Empty(t, r.Failures)
	require.Equal(t, 2000, r.Landed)
	require.Positive(t, r.BrokenOff)
	require.GreaterOrEqual(t, len(server.known), 2000)
}

func TestWhatCannotBeDoneOverAMQPIsTold(t *testing.T) {
	t.Parallel()
	for wrong, change := range map[string]func(*Config){
		"nobody watches":       func(c *Config) { c.Watchers = 1 },
		"wait-share must be 0": func(c *Config) { c.Array, c.WaitShare = 2, 0.5 },
	} {
		cfg := Config{AMQP: "amqp://127.0.0.1"}
		change(&cfg)
		require.ErrorContains(t, cfg.Validate(), wrong)
	}
	cfg := Config{AMQP: "amqp://127.0.0.1:1", Count: 1}
	_, err := Run(t.Context(), cfg)
	require.ErrorContains(t, err, "connect to RabbitMQ")
}
