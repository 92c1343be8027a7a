package load

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// IdleReport tells what connections cost on which nothing happens.
type IdleReport struct {
	Connections int    `json:"connections"`
	Before      Memory `json:"before"` // they were opened
	After       Memory `json:"after"`
	End         Memory `json:"end"` // of the run
	// PerConnection is resident memory; LivePerConnection what the Go runtime has in use for heap and
	// stacks, after a collection.
	PerConnection     float64 `json:"rss_bytes_per_connection"`
	LivePerConnection float64 `json:"live_bytes_per_connection"`
	Unknown           string  `json:"unknown,omitempty"` // why nothing is known
}

// Memory is a server's own account, from its /metrics.
type Memory struct {
	Resident int64 `json:"rss_bytes"`
	Heap     int64 `json:"heap_inuse_bytes"`
	Stack    int64 `json:"stack_inuse_bytes"`
}

// serverMemory has the server collect its garbage first, so that what is told is in use.
func serverMemory(ctx context.Context, admin string) (m Memory, err error) {
	if _, err := fetchText(ctx, admin+"/debug/pprof/heap?gc=1"); err != nil {
		return m, err
	}
	text, err := fetchText(ctx, admin+"/metrics")
	if err != nil {
		return m, err
	}
	wanted := map[string]*int64{
		"process_resident_memory_bytes": &m.Resident, "go_memstats_heap_inuse_bytes": &m.Heap, "go_memstats_stack_inuse_bytes": &m.Stack,
	}
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if into := wanted[name]; into != nil {
			if n, err := strconv.ParseFloat(value, 64); err == nil {
				*into = int64(n)
			}
		}
	}
	if m.Heap == 0 {
		return m, fmt.Errorf("%s/metrics tells no go_memstats", admin)
	}
	return m, nil
}

func fetchText(ctx context.Context, address string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return "", err
	}
	request.Close = true
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxResponse))
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: status %d", address, answer.StatusCode)
	}
	return string(text), err
}

// openAll connects those who watch, and takes the server's memory around the idle ones.
func (w *watching) openAll(ctx context.Context) (*IdleReport, error) {
	busy := func(r role) bool { return r != idle && r != storm }
	if err := w.open(ctx, busy); err != nil {
		return nil, err
	}
	cfg, resting := w.e.cfg, func(r role) bool { return r == idle }
	if cfg.Idle == 0 {
		return nil, w.open(ctx, resting)
	}
	report := &IdleReport{Connections: cfg.Idle}
	before, err := serverMemory(ctx, cfg.AdminURL)
	if err != nil {
		report.Unknown = err.Error()
	}
	if err := w.open(ctx, resting); err != nil {
		return nil, err
	}
	if report.Unknown != "" {
		return report, nil
	}
	after, err := serverMemory(ctx, cfg.AdminURL)
	if err != nil {
		report.Unknown = err.Error()
		return report, nil //nolint:nilerr // what is not known is said, and the rest is measured
	}
	report.Before, report.After = before, after
	report.PerConnection = float64(after.Resident-before.Resident) / float64(cfg.Idle)
	report.LivePerConnection = float64(after.Heap+after.Stack-before.Heap-before.Stack) / float64(cfg.Idle)
	return report, nil
}
