package rabbitmq_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/bus/rabbitmq"
	"github.com/ticketed/doorman/bus/rabbitmq/rabbitmqtest"
)

// reconnects counts connections that were lost.
type reconnects struct {
	rabbitmq.NoMetrics

	n atomic.Int32
}

func (r *reconnects) Reconnected(string) { r.n.Add(1) }

// What RabbitMQ takes for headers and the library does not would end every connection that the message is delivered
// over, twenty times, with all that others had sent. It comes like any other.
func TestNobodysHeadersEndAConnection(t *testing.T) {
	t.Parallel()
	config := rabbitmqtest.Config(t)
	lost := &reconnects{}
	config.Metrics = lost
	taker := newTaker()
	openIngress(t, rabbitmq.IngressConfig{Config: config}, taker)
	deep := any("bottom")
	for range 40 {
		deep = []any{deep}
	}
	many := make([]any, 10_000)
	const room = 131_072 - 8 - 14 - 4 - 8 // what a frame leaves for the text of a header of one byte's name
	s := newService(t, config)
	for name, headers := range map[string]amqp.Table{
		"deep": {"a": deep}, "many": {"a": many}, "full": {"a": strings.Repeat("x", room-len("full")-1-2)},
	} {
		s.publish(
			amqp.Publishing{Body: []byte("before")},
			amqp.Publishing{Headers: headers, MessageId: name, Body: []byte(name)},
			amqp.Publishing{Body: []byte("after")},
		)
		all, texts := taker.bodies(t, 3)
		require.Equal(t, []string{"before", name, "after"}, texts)
		require.Equal(t, name, all[1].Message().MessageID)
		require.NotContains(t, all[1].Message().Headers, "a")
		require.NotEmpty(t, all[1].Message().Headers["x-doorman-headers-left"])
		require.Zero(t, all[1].Message().Deliveries)
	}
	require.Zero(t, lost.n.Load())
}

// dying is a gateway that ends when it meets a certain message: its connection is cut before it has said anything.
type dying struct {
	die func()

	mu      sync.Mutex
	deaths  int
	settled map[string]int // deliveries before, by body
}

func (d *dying) Ready() error  { return nil }
func (d *dying) UnderWay() int { return 0 }

func (d *dying) Take(messages []*rabbitmq.Incoming) {
	for _, m := range messages {
		if string(m.Message().Body) == "deadly" {
			d.mu.Lock()
			d.deaths++
			d.mu.Unlock()
			d.die()
			return
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, m := range messages {
		if !m.Lost() {
			d.settled[string(m.Message().Body)] = m.Message().Deliveries
			m.Settle()
		}
	}
}

func (d *dying) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.settled)
}

// Should there be a message all the same that ends whoever reads it, it is taken away in the end, and those that were
// in hand with it are not.
func TestADeadlyMessageDiesAlone(t *testing.T) {
	t.Parallel()
	config := rabbitmqtest.Config(t)
	s := newService(t, config)
	require.NoError(t, s.channel.ExchangeDeclare(config.Prefix+".dead", amqp.ExchangeTopic, true, false, false, false, nil))
	grave, err := s.channel.QueueDeclare("", false, true, true, false, nil)
	require.NoError(t, err)
	require.NoError(t, s.channel.QueueBind(grave.Name, "#", config.Prefix+".dead", false, nil))
	proxy := rabbitmqtest.NewProxy(t, config.URL)
	config.URL, config.MaxBackoff = proxy.URL(), 100*time.Millisecond
	waiting := newTaker()
	first := openIngress(t, rabbitmq.IngressConfig{Config: config}, waiting) // makes what is published to
	const around = 150
	s.say(numbers(0, around)...)
	s.say("deadly")
	s.say(numbers(around, 2*around)...)
	require.NoError(t, first.Close())

	d := &dying{die: proxy.Cut, settled: map[string]int{}}
	began := time.Now()
	openIngress(t, rabbitmq.IngressConfig{Config: config}, d)
	require.Eventually(t, func() bool { return d.count() == 2*around }, 4*patience, blink)
	took := time.Since(began)
	buried, err := s.channel.Consume(grave.Name, "", true, false, false, false, nil)
	require.NoError(t, err)
	select {
	case b := <-buried:
		require.Equal(t, "deadly", string(b.Body))
		require.Equal(t, "delivery_limit", b.Headers["x-first-death-reason"])
	case <-time.After(patience):
		require.FailNow(t, "it does not come to its grave")
	}
	s.left(0)
	d.mu.Lock()
	defer d.mu.Unlock()
	most := 0
	for _, deliveries := range d.settled {
		most = max(most, deliveries)
	}
	require.LessOrEqual(t, most, 6, "others were hit by few of its deaths")
	require.GreaterOrEqual(t, d.deaths, 20)
	t.Logf("%d deaths in %s; others came back %d times at most", d.deaths, took.Round(time.Millisecond), most)
}

// Over TLS it is the same: what the broker says is looked at below it.
func TestAnIngressOverTLS(t *testing.T) {
	t.Parallel()
	config := rabbitmqtest.Config(t)
	s := newService(t, config)
	var authorities *x509.CertPool
	config.URL, authorities = overTLS(t, config.URL)
	config.TLS = &tls.Config{RootCAs: authorities, MinVersion: tls.VersionTLS12}
	taker := newTaker()
	openIngress(t, rabbitmq.IngressConfig{Config: config}, taker)
	s.publish(amqp.Publishing{Headers: amqp.Table{"a": make([]any, 10_000)}, Body: []byte("1")})
	taker.next(t).Settle()

	config.TLS = nil // the system knows no such authority
	config.ConnectTimeout = time.Second
	require.Eventually(t, func() bool {
		_, err := rabbitmq.NewIngress(t.Context(), rabbitmq.IngressConfig{Config: config}, taker)
		return err != nil && strings.Contains(err.Error(), "certificate") // a busy machine may not have come as far
	}, patience, blink)
}

// overTLS is the way to a broker over TLS, and who answers for it.
func overTLS(t *testing.T, broker string) (address string, authorities *x509.CertPool) {
	t.Helper()
	target, err := url.Parse(broker)
	require.NoError(t, err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "broker"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	certificate, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	authorities = x509.NewCertPool()
	authorities.AddCert(certificate)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12,
	})
	require.NoError(t, err)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := new(net.Dialer).DialContext(t.Context(), "tcp", target.Host)
			if err != nil {
				near.Close()
				return
			}
			for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
				running.Go(func() {
					_, _ = io.Copy(way[0], way[1])
					way[0].Close()
					way[1].Close()
				})
			}
		}
	})
	t.Cleanup(func() { // after what came through has been closed
		listener.Close()
		running.Wait()
	})
	secure := *target
	secure.Scheme, secure.Host = "amqps", "127.0.0.1:"+strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
	return secure.String(), authorities
}
