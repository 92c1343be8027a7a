package rabbitmq_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/bus/rabbitmq"
	"github.com/ticketed/doorman/bus/rabbitmq/rabbitmqtest"
)

// taker is handed messages, and settles none of them by itself.
type taker struct {
	came chan *rabbitmq.Incoming

	mu       sync.Mutex
	problem  error
	underWay int
}

func newTaker() *taker { return &taker{came: make(chan *rabbitmq.Incoming, 10_000)} }

func (t *taker) Ready() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.problem
}

func (t *taker) UnderWay() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.underWay
}

func (t *taker) be(problem error, underWay int) {
	t.mu.Lock()
	t.problem, t.underWay = problem, underWay
	t.mu.Unlock()
}

func (t *taker) Take(messages []*rabbitmq.Incoming) {
	for _, m := range messages {
		t.came <- m
	}
}

// next is the message that comes next.
func (t *taker) next(test testing.TB) *rabbitmq.Incoming {
	test.Helper()
	select {
	case m := <-t.came:
		return m
	case <-time.After(patience):
		require.FailNow(test, "no message came")
		return nil
	}
}

func (t *taker) bodies(test testing.TB, n int) (all []*rabbitmq.Incoming, texts []string) {
	test.Helper()
	for range n {
		m := t.next(test)
		all, texts = append(all, m), append(texts, string(m.Message().Body))
	}
	return all, texts
}

func openIngress(t testing.TB, config rabbitmq.IngressConfig, taker rabbitmq.Taker) *rabbitmq.Ingress {
	t.Helper()
	i, err := rabbitmq.NewIngress(t.Context(), config, taker)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, i.Close()) })
	require.Eventually(t, func() bool { return i.Ready() == nil }, patience, blink)
	return i
}

// service is another service: it publishes to the exchange for commands, each message confirmed.
type service struct {
	t       testing.TB
	channel *amqp.Channel
	config  rabbitmq.Config
}

func newService(t testing.TB, config rabbitmq.Config) *service {
	t.Helper()
	channel, err := rabbitmqtest.Connect(t).Channel()
	require.NoError(t, err)
	require.NoError(t, channel.Confirm(false))
	return &service{t, channel, config}
}

func (s *service) publish(messages ...amqp.Publishing) {
	s.t.Helper()
	confirms := make([]*amqp.DeferredConfirmation, len(messages))
	for i, m := range messages {
		m.DeliveryMode = amqp.Persistent
		var err error
		confirms[i], err = s.channel.PublishWithDeferredConfirm(s.config.Prefix+".commands", "any.key", false, false, m)
		require.NoError(s.t, err)
	}
	for _, confirm := range confirms {
		require.True(s.t, confirm.Wait())
	}
}

func (s *service) say(texts ...string) {
	s.t.Helper()
	messages := make([]amqp.Publishing, len(texts))
	for i, text := range texts {
		messages[i].Body = []byte(text)
	}
	s.publish(messages...)
}

// left is how many messages there are in the queue that nobody has in hand, as soon as it is so many.
func (s *service) left(n int) {
	s.t.Helper()
	require.EventuallyWithT(s.t, func(c *assert.CollectT) {
		q, err := s.channel.QueueDeclarePassive(s.config.Prefix+".commands", true, false, false, false, nil)
		require.NoError(c, err)
		require.Equal(c, n, q.Messages, "messages that nobody has in hand")
	}, patience, blink)
}

func numbers(from, to int) (texts []string) {
	for n := from; n < to; n++ {
		texts = append(texts, strconv.Itoa(n))
	}
	return texts
}

// DESIGN section 4: any routing key; what a message says of itself is passed on.
func TestCommandsOfOtherServicesAreTaken(t *testing.T) {
	t.Parallel()
	config := rabbitmqtest.Config(t)
	taker := newTaker()
	i := openIngress(t, rabbitmq.IngressConfig{Config: config}, taker)
	s := newService(t, config)
	at := time.Date(2026, 11, 22, 9, 15, 30, 0, time.UTC)
	s.publish(amqp.Publishing{
		Headers: amqp.Table{"traceparent": "00-1", "deep": amqp.Table{"list": []any{int32(1)}}}, ContentType: "application/json",
		ContentEncoding: "identity", Priority: 3, CorrelationId: "17", ReplyTo: "billing.answers", Expiration: "600000",
		MessageId: "m1", Timestamp: at, Type: "order.submit", UserId: "guest", AppId: "billing", Body: []byte("{}"),
	})
	m := taker.next(t)
	got := *m.Message()
	require.Equal(t, "00-1", got.Headers["traceparent"])
	require.Equal(t, amqp.Table{"list": []any{int32(1)}}, got.Headers["deep"])
	require.True(t, at.Equal(got.SentAt))
	got.Headers, got.SentAt = nil, time.Time{}
	require.Equal(t, config.Prefix+".commands", got.Exchange)
	got.Exchange = ""
	want := *m.Message()
	want.Headers, want.SentAt, want.Exchange = nil, time.Time{}, ""
	want.Body, want.Size, want.ContentType, want.ContentEncoding, want.MessageID = []byte("{}"), 2, "application/json", "identity", "m1"
	want.CorrelationID, want.ReplyTo, want.UserID, want.RoutingKey = "17", "billing.answers", "guest", "any.key"
	want.AppID, want.Type, want.Expiration, want.Priority, want.Persistent, want.Deliveries = "billing", "order.submit", "600000", 3, true, 0
	require.Equal(t, want, got)

	messages, bytes := i.InHand()
	require.Equal(t, 1, messages)
	require.Positive(t, bytes)
	m.Settle()
	m.Settle()
	require.False(t, m.Lost())
	require.Eventually(t, func() bool { n, bytes := i.InHand(); return n == 0 && bytes == 0 }, patience, blink)
	s.say(numbers(0, 1000)...)
	for range 1000 {
		taker.next(t).Settle()
	}
	require.NoError(t, i.Close())
	require.NoError(t, i.Close())
	s.left(0)
}

func TestWhatIsNotSettledComesAgain(t *testing.T) {
	t.Parallel()
	config := rabbitmqtest.Config(t)
	first := newTaker()
	i := openIngress(t, rabbitmq.IngressConfig{Config: config}, first)
	s := newService(t, config)
	s.say(numbers(0, 6)...)
	held, texts := first.bodies(t, 6)
	require.Equal(t, numbers(0, 6), texts)
	held[1].Settle()
	held[4].Settle()
	i.Cease()
	s.say("6")
	held[5].Settle() // what is in hand may still be settled
	require.NoError(t, i.Close())
	require.Empty(t, first.came, "nothing is taken any more")
	require.True(t, held[0].Lost())
	require.False(t, held[5].Lost())
	held[0].Settle() // too late

	second := newTaker()
	openIngress(t, rabbitmq.IngressConfig{Config: config}, second)
	again, texts := second.bodies(t, 4)
	require.Equal(t, []string{"0", "2", "3", "6"}, texts)
	require.Equal(t, 1, again[0].Message().Deliveries)
	require.Zero(t, again[3].Message().Deliveries)
}

// Gateways share what comes, and none waits for another.
func TestGatewaysShareTheQueue(t *testing.T) {
	t.Parallel()
	config := rabbitmqtest.Config(t)
	config.Prefetch = 2
	one, other := newTaker(), newTaker()
	openIngress(t, rabbitmq.IngressConfig{Config: config}, one)
	openIngress(t, rabbitmq.IngressConfig{Config: config}, other)
	s := newService(t, config)
	s.say("first", "second")
	one.next(t).Settle()
	other.next(t).Settle()
	s.say(numbers(0, 4)...)
	one.bodies(t, 2)
	held, _ := other.bodies(t, 2)
	s.say("4")
	held[1].Settle() // out of turn
	_, texts := other.bodies(t, 1)
	require.Equal(t, []string{"4"}, texts, "the other one holds all it may")
}

// One message that cannot be settled keeps none of the others.
func TestTheOldestMessageHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	config := rabbitmqtest.Config(t)
	config.Prefetch = 8
	taker := newTaker()
	i := openIngress(t, rabbitmq.IngressConfig{Config: config}, taker)
	s := newService(t, config)
	s.say(numbers(0, 200)...)
	oldest := taker.next(t)
	for range 199 {
		taker.next(t).Settle()
	}
	oldest.Settle()
	require.Eventually(t, func() bool { n, _ := i.InHand(); return n == 0 }, patience, blink)
	require.NoError(t, i.Close())
	s.left(0)
}

// Also while the broker has more to write than its disk takes at once.
func TestWhatIsSettledNeverComesAgain(t *testing.T) {
	t.Parallel()
	const n = 400
	for name, end := range map[string]func(*rabbitmq.Ingress){
		"closed at once":       func(*rabbitmq.Ingress) {},
		"closed after ceasing": (*rabbitmq.Ingress).Cease,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := rabbitmqtest.Config(t)
			taker := newTaker()
			i := openIngress(t, rabbitmq.IngressConfig{Config: config}, taker)
			s := newService(t, config)
			s.say(numbers(0, n)...)
			held, _ := taker.bodies(t, n)
			end(i)
			for _, m := range held[n/2:] { // told one by one, as the oldest is not settled
				m.Settle()
			}
			require.NoError(t, i.Close())
			s.left(n / 2)
		})
	}
}

func TestBytesInHandAreBounded(t *testing.T) {
	t.Parallel()
	config := rabbitmqtest.Config(t)
	taker := newTaker()
	i := openIngress(t, rabbitmq.IngressConfig{Config: config, Room: 1 << 20}, taker)
	s := newService(t, config)
	const size, most = 200 << 10, 5
	large := strings.Repeat("x", size)
	var texts []string
	for range 20 {
		texts = append(texts, large)
	}
	s.say(texts...)
	held, _ := taker.bodies(t, most)
	s.channel.Qos(0, 0, false)   //nolint:errcheck // a word to the broker and back
	require.Empty(t, taker.came) // and no more comes while
	require.Never(t, func() bool { _, b := i.InHand(); return b > 1<<20 || len(taker.came) > 0 }, 10*blink, blink)
	for n := most; n < 20; n++ {
		held[0].Settle()
		held = append(held[1:], taker.next(t))
		require.Len(t, held[len(held)-1].Message().Body, size)
	}
	require.Empty(t, taker.came)
	i.Cease() // though nothing is read
	require.NoError(t, i.Close())
	s.left(most)
}

// Of a body that is too large for anything no more is kept than a dead letter keeps.
func TestALargeBodyIsCut(t *testing.T) {
	t.Parallel()
	config := rabbitmqtest.Config(t)
	taker := newTaker()
	openIngress(t, rabbitmq.IngressConfig{Config: config}, taker)
	s := newService(t, config)
	const mega = 1 << 20
	for _, size := range []int{mega - 1, mega, mega + 1, 3*mega + 7, 24 * mega} {
		body := []byte(strings.Repeat("0123456789abcdef", size/16+1)[:size])
		s.publish(amqp.Publishing{Body: body, MessageId: "large", Headers: amqp.Table{"a": "b"}}, amqp.Publishing{Body: []byte("small")})
		m := taker.next(t).Message()
		require.Equal(t, size, m.Size)
		require.Equal(t, body[:min(size, mega)], m.Body)
		require.Equal(t, "large", m.MessageID)
		require.Equal(t, "b", m.Headers["a"])
		require.Equal(t, "small", string(taker.next(t).Message().Body), "what follows is whole")
	}
}

var errAway = errors.New("away")

// While nothing can be taken here, others get what comes, and what is in hand is theirs after a while.
func TestWhatCannotBeTakenIsLeftToOthers(t *testing.T) {
	t.Parallel()
	config := rabbitmqtest.Config(t)
	unready, ready := newTaker(), newTaker()
	first := openIngress(t, rabbitmq.IngressConfig{Config: config, Patience: time.Second}, unready)
	s := newService(t, config)
	s.say("0")
	held := unready.next(t)
	unready.be(errAway, 1)
	require.Never(t, held.Lost, 2*time.Second, blink, "nobody knows what becomes of it")
	unready.be(errAway, 0)
	require.Eventually(t, held.Lost, patience, blink)
	require.NoError(t, first.Ready(), "it is nothing that is wrong with the queue")
	s.say("1")
	openIngress(t, rabbitmq.IngressConfig{Config: config}, ready)
	all, texts := ready.bodies(t, 2)
	require.Equal(t, []string{"0", "1"}, texts)
	require.Empty(t, unready.came)
	unready.be(nil, 0)
	for _, m := range all {
		m.Settle()
	}
	require.Eventually(t, func() bool { s.say("more"); return len(unready.came) > 0 }, patience, blink, "it takes again")
}

func TestCommandsComeAgainAfterALostConnection(t *testing.T) {
	t.Parallel()
	config := rabbitmqtest.Config(t)
	s := newService(t, config)
	proxy := rabbitmqtest.NewProxy(t, config.URL)
	config.URL, config.MaxBackoff = proxy.URL(), 200*time.Millisecond
	taker := newTaker()
	i := openIngress(t, rabbitmq.IngressConfig{Config: config}, taker)
	s.say("0")
	held := taker.next(t)
	proxy.Refuse(true)
	require.Eventually(t, func() bool { return i.Ready() != nil }, patience, blink)
	require.Eventually(t, held.Lost, patience, blink)
	proxy.Refuse(false)
	again := taker.next(t)
	require.Equal(t, "0", string(again.Message().Body))
	again.Settle()
	require.Eventually(t, func() bool { return i.Ready() == nil }, patience, blink)
}

func TestAnIngressSurvivesItsQueue(t *testing.T) {
	t.Parallel()
	config := rabbitmqtest.Config(t)
	taker := newTaker()
	openIngress(t, rabbitmq.IngressConfig{Config: config}, taker)
	rabbitmqtest.DeleteQueues(t, config.Prefix, rabbitmq.CommandsExchange)
	s := newService(t, config)
	requireConsumed(t, config, rabbitmq.CommandsExchange)
	s.say("0")
	taker.next(t).Settle()
}

// A queue that somebody made otherwise is not to be relied upon, and that is told.
func TestAStrangeQueueIsTold(t *testing.T) {
	t.Parallel()
	config := rabbitmqtest.Config(t)
	channel, err := rabbitmqtest.Connect(t).Channel()
	require.NoError(t, err)
	_, err = channel.QueueDeclare(config.Prefix+".commands", true, false, false, false, amqp.Table{amqp.QueueTypeArg: amqp.QueueTypeClassic})
	require.NoError(t, err)
	i, err := rabbitmq.NewIngress(t.Context(), rabbitmq.IngressConfig{Config: config}, newTaker())
	require.NoError(t, err)
	defer func() { require.NoError(t, i.Close()) }()
	require.ErrorContains(t, i.Ready(), "inequivalent arg")
}

func TestOtherBoundsOfTheQueueAreNoTrouble(t *testing.T) {
	t.Parallel()
	config := rabbitmqtest.Config(t)
	openIngress(t, rabbitmq.IngressConfig{Config: config, QueueMessages: 7}, newTaker())
	openIngress(t, rabbitmq.IngressConfig{Config: config, QueueMessages: 8}, newTaker())
}

func TestAnIngressThatCannotConnectIsTold(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := rabbitmq.NewIngress(ctx, rabbitmq.IngressConfig{Config: rabbitmq.Config{URL: "amqp://127.0.0.1:1"}}, newTaker())
	require.ErrorIs(t, err, context.DeadlineExceeded)
	_, err = rabbitmq.NewIngress(ctx, rabbitmq.IngressConfig{Config: rabbitmq.Config{URL: "http://127.0.0.1"}}, newTaker())
	require.ErrorContains(t, err, "URL 1 of 1")
}
