package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ticketed/doorman/cmd/cli/load"
	"github.com/ticketed/doorman/commands"
)

// benchText is a report for people.
func benchText(r *load.Report) string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-15s"+format+"\n", append([]any{name}, args...)...)
	}
	line("load", "%s", benchLoad(r))
	words := httpWords
	if r.OverAMQP {
		words = amqpWords
	}
	line("landed", "%s/s: %s of %s commands in %.2f s, from the first %s until the last outcome was known",
		count(int(r.LandedPerSecond)), count(r.Landed), count(r.Commands), r.Seconds, words.first)
	line(words.accepted, "%s", latencyText(r.PostToAccepted, words.alone))
	line(words.landed, "%s", latencyText(r.PostToLanded, words.waiting))
	if r.Rate > 0 {
		line("", "counted from when each command was due")
	} else {
		line("", "counted from sending: the server set the pace (--rate measures from when commands are due)")
	}
	if r.Watch != nil {
		watchLines(r.Watch, line)
	}
	line("rejected", "%s", reasons(r.Rejected))
	line("refused", "%s", reasons(r.Refusals))
	if r.SentAgain+r.BrokenOff > 0 {
		line("sent again", "%s requests, %s connections broke", count(r.SentAgain), count(r.BrokenOff))
	}
	if r.Machine != nil {
		line("CPU a command", "%s", costText(r))
	}
	if r.Server != nil {
		line("server memory", "%d MB, %d MB at most", r.Server.RSSBytes>>20, r.Server.PeakBytes>>20)
	}
	line("checked", "%s commands and the heads of %s streams in %.1f s", count(r.CheckedCommands), count(r.CheckedStreams), r.CheckSeconds)
	if r.OK() {
		line("", "each accepted command has exactly one outcome, and the right one")
	}
	for _, failure := range r.Failures {
		line("WRONG", "%s", failure)
	}
	return b.String()
}

// benchWords are how a report calls what it measured.
type benchWords struct{ first, accepted, landed, alone, waiting string }

var (
	httpWords = benchWords{"POST", "POST→202", "POST→landed", "posted without Prefer: wait", "posted with Prefer: wait"}
	amqpWords = benchWords{"message", "sent→confirmed", "sent→answered", "sent without reply_to", "sent with reply_to, and landed"}
)

func benchLoad(r *load.Report) string {
	streams, ways, whole := count(r.Streams)+" streams", "connections", "POST"
	if r.Streams == 1 {
		streams = "one hot stream"
	}
	if r.OverAMQP {
		ways, whole = "messages under way over AMQP", "message"
	}
	parts := []string{streams, fmt.Sprintf("%d %s", r.Connections, ways), fmt.Sprintf("%d bytes of data", r.Payload)}
	if r.Array > 1 {
		parts = append(parts, fmt.Sprintf("%d commands a %s", r.Array, whole))
	}
	if r.Rate > 0 {
		parts = append(parts, count(int(r.Rate))+" commands a second")
	}
	for _, part := range []struct {
		n    int
		what string
	}{{r.Early, "out of order"}, {r.Doubles, "sent twice"}, {r.Stale, "stale"}} {
		if part.n > 0 {
			parts = append(parts, fmt.Sprintf("%.1f%% %s", 100*float64(part.n)/float64(r.Commands), part.what))
		}
	}
	return strings.Join(parts, ", ")
}

func latencyText(l load.Latency, what string) string {
	if l.Count == 0 {
		return "not measured: no command was " + what
	}
	return fmt.Sprintf("p50 %s  p99 %s  p99.9 %s  max %s ms  (%s %s)",
		millis(l.P50), millis(l.P99), millis(l.P999), millis(l.Max), count(int(l.Count)), what)
}

// millis gives three digits where they matter.
func millis(ms float64) string {
	switch {
	case ms >= 100:
		return fmt.Sprintf("%.0f", ms)
	case ms >= 10:
		return fmt.Sprintf("%.1f", ms)
	}
	return fmt.Sprintf("%.2f", ms)
}

func reasons(counts map[commands.Reason]int) string {
	if len(counts) == 0 {
		return "none"
	}
	var parts []string
	for _, reason := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%s %s", reason, count(counts[reason])))
	}
	return strings.Join(parts, ", ")
}

func costText(r *load.Report) string {
	text := fmt.Sprintf("generator %s µs", micros(r.Generator))
	if r.Server != nil {
		text = fmt.Sprintf("server %s µs, %s", micros(r.Server), text)
	}
	return fmt.Sprintf("%s, everything on the machine %s µs (%.2f processors busy)", text, micros(r.Machine), r.Busy)
}

func micros(c *load.Cost) string {
	if c == nil {
		return "–"
	}
	return fmt.Sprintf("%.1f", c.MicrosPerCommand)
}

// benchRow is a row of the table in README.md.
type benchRow struct {
	name  string
	shape func(*load.Config)
}

var benchRows = []benchRow{
	{"2,000 streams", func(*load.Config) {}},
	{"one hot stream, 64 commands under way", func(c *load.Config) { c.Streams = 1 }},
	{"2,000 streams, 10,000 commands/s asked for", func(c *load.Config) { c.Rate = 10_000 }},
	{"2,000 streams, 30% out of order, 10% twice, 5% stale", func(c *load.Config) {
		c.OutOfOrder, c.Duplicate, c.Stale = 0.3, 0.1, 0.05
	}},
	{"2,000 streams, arrays of 64 commands", func(c *load.Config) { c.Array = 64 }},
}

// benchTable measures every row on every store, each on a server of its own, and prints Markdown. A run
// that failed its checks is a row too, and an error in the end.
func (a *app) benchTable(ctx context.Context, o *benchOptions) error {
	fmt.Fprint(a.stdout, "| store | load | landed/s | POST→202 ms, p50 / p99 / p99.9 | POST→landed ms, p50 / p99 / p99.9 "+
		"| CPU µs a command: server / generator / machine |\n|---|---|---:|---:|---:|---:|\n")
	stores := []string{"sqlite", "postgres"}
	if o.rabbitmqURL != "" {
		stores = append(stores, "rabbitmq")
	}
	if o.serve != "" {
		stores = []string{o.serve}
	}
	var failed []string
	for _, store := range stores {
		for _, row := range benchRows {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			cfg := o.load
			row.shape(&cfg)
			report, err := a.benchOnce(ctx, o, cfg, store)
			if err == nil {
				err = verdictOf(report)
			}
			if err != nil {
				failed = append(failed, fmt.Sprintf("%s, %s: %v", store, row.name, err))
				fmt.Fprintf(a.stdout, "| %s | %s | failed | | | |\n", store, row.name)
				continue
			}
			fmt.Fprintf(a.stdout, "| %s | %s | %s | %s | %s | %s / %s / %s |\n", store, row.name,
				count(int(report.LandedPerSecond)), tableLatency(report.PostToAccepted), tableLatency(report.PostToLanded),
				micros(report.Server), micros(report.Generator), micros(report.Machine))
		}
	}
	if len(failed) > 0 {
		return fmt.Errorf("%d rows failed: %s", len(failed), strings.Join(failed, "; "))
	}
	return nil
}

func tableLatency(l load.Latency) string {
	if l.Count == 0 {
		return "–"
	}
	return millis(l.P50) + " / " + millis(l.P99) + " / " + millis(l.P999)
}
