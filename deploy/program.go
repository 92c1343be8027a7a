package deploy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/aggregate/store"
	"github.com/ticketed/doorman/aggregate/worker"
)

// Program is a whole running doorman. It is used once: New, Start, Stop.
type Program struct {
	config  *Config
	types   *aggregate.Registry
	log     *slog.Logger
	metrics *Metrics
	health  health
	store   store.Store
	worker  *worker.Worker

	public, admin *listener
	failed        chan error         // a listener ended by itself, the number of lanes is another one, or the store is another's
	giveUp        context.CancelFunc // ends the start

	lifecycle sync.Mutex
	started   bool
	down      []step // what Stop does, last one first
	stopping  sync.Once
	stopErr   error
}

// step takes one part down. The context ends when the time to do it gently is over.
type step struct {
	doing string
	take  func(context.Context) error
}

// New makes a program of the types it serves. It opens nothing yet. The error is a [ConfigError] when the
// configuration is wrong.
func New(config *Config, types []aggregate.Type) (*Program, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	registry, err := aggregate.NewRegistry(types...)
	if err != nil {
		return nil, err
	}
	p := &Program{config: config, types: registry, log: config.Log, metrics: newMetrics(), failed: make(chan error, 4)}
	if p.log == nil {
		p.log = NewLog(os.Stderr, config)
	}
	return p, nil
}

// NewLog is a log of the level and format that are configured.
func NewLog(w io.Writer, c *Config) *slog.Logger {
	options := &slog.HandlerOptions{Level: logLevels[c.LogLevel]}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// Start returns once commands are taken. The context bounds the start alone; when it fails nothing stays
// open, and the error is one sentence that says what to do about it.
func (p *Program) Start(ctx context.Context) error {
	p.lifecycle.Lock()
	defer p.lifecycle.Unlock()
	if p.started {
		return errors.New("the program was started before")
	}
	p.started = true
	ctx, p.giveUp = context.WithCancel(ctx)
	if err := p.start(ctx); err != nil {
		select {
		case err = <-p.failed: // which is why
		default:
		}
		p.stopping.Do(func() { p.takeDown(slog.LevelDebug) })
		return err
	}
	return nil
}

// fail tells that the program can go on no longer. While it starts, the start ends.
func (p *Program) fail(err error) {
	p.failed <- err
	p.giveUp()
}

func (p *Program) start(ctx context.Context) error {
	began := time.Now()
	if err := p.listen(); err != nil {
		return err
	}
	opened, err := p.openStore(ctx)
	if err != nil {
		return err
	}
	p.store = opened
	p.onStop("closing the store", func(context.Context) error { return opened.Close() })
	routes := http.NewServeMux()
	if err := p.wire(ctx, routes); err != nil {
		return err
	}
	if err := p.mount(routes); err != nil {
		return err
	}
	p.health.enter(stageServing)
	p.warn()
	p.log.Info("ready", "url", p.URL(), "admin_url", p.AdminURL(), "store", p.config.storeName(),
		"epoch", opened.Identity().Epoch, "types", p.typeNames(), "took", time.Since(began).Round(time.Millisecond))
	return nil
}

// warn tells of what is allowed and may not be meant.
func (p *Program) warn() {
	if !p.public.loopback() {
		p.log.Warn("anybody who reaches the address may send commands and name any actor: no authenticator is configured",
			"listen", p.config.Listen)
	}
	if !p.admin.loopback() {
		p.log.Warn("anybody who reaches the address may decide what operators do, and read metrics and profiles",
			"admin_listen", p.config.AdminListen)
	}
}

func (p *Program) typeNames() []string {
	types := p.types.Types()
	names := make([]string, len(types))
	for i, t := range types {
		names[i] = t.Name()
	}
	return names
}

// onStop adds a step to be taken before those that are there already.
func (p *Program) onStop(doing string, take func(context.Context) error) {
	p.down = append(p.down, step{doing, take})
}

// URL is where commands and queries are served, once started; e.g. http://127.0.0.1:8080.
func (p *Program) URL() string { return p.public.url() }

// AdminURL is where metrics and profiles are served, once started.
func (p *Program) AdminURL() string { return p.admin.url() }

// Failed tells when the program can go on no longer, with the reason. It is to be stopped then.
func (p *Program) Failed() <-chan error { return p.failed }

// Stop takes the program down: it takes no new requests and says so at /readyz, answers those under way,
// commits what was accepted, and closes the store. What takes longer than the configured grace is cut
// off, which the error tells; nothing that was accepted is lost by it. It is safe twice, and waits for
// a Start under way.
func (p *Program) Stop() error {
	p.lifecycle.Lock()
	defer p.lifecycle.Unlock()
	p.stopping.Do(func() { p.takeDown(slog.LevelInfo) })
	return p.stopErr
}

func (p *Program) takeDown(level slog.Level) {
	began := time.Now()
	p.health.enter(stageStopping)
	ctx, cancel := context.WithTimeout(context.Background(), p.config.ShutdownGrace)
	defer cancel()
	var problems []error
	for len(p.down) > 0 {
		last := p.down[len(p.down)-1]
		p.down = p.down[:len(p.down)-1]
		p.log.Log(ctx, level, "stopping: "+last.doing)
		if err := last.take(ctx); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", last.doing, err))
		}
	}
	p.log.Log(ctx, level, "stopped", "took", time.Since(began).Round(time.Millisecond))
	p.stopErr = errors.Join(problems...)
}
