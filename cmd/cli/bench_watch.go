package cli

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/ticketed/doorman/cmd/cli/load"
)

func (o *benchOptions) addWatchFlags(flags *pflag.FlagSet) {
	c := &o.load
	flags.IntVar(&c.Watchers, "watchers", 0, "connections that are told of streams by server-sent events")
	flags.IntVar(&c.WatchStreams, "watch-streams", 0, "streams of a watcher, 256 at most (default so many that all are watched)")
	flags.StringVar(&c.WatchDeliver, "watch-deliver", "state", "`how` watchers are told: state, events, ticket")
	flags.Var((*shareFlag)(&c.WatchParked), "watch-parked", "share of the commands out of order whose session is told of them")
	flags.IntVar(&c.Fan, "fan", 0, "connections that watch one stream together")
	flags.IntVar(&c.Idle, "idle", 0, "connections that watch streams to which nothing happens")
	flags.Var(&stormFlag{&c.StormReaders, &c.StormBacklog}, "storm", "how many `readers,backlog` come at once, how many outcomes behind")
	flags.StringVar(&c.AdminURL, adminURLFlag, "", "`address` at which the server tells of its memory, for --idle "+
		"(default that of admin_listen, as 'doorman config' shows it)")
}

// stormFlag is readers and their backlog: 200,20000.
type stormFlag struct{ readers, backlog *int }

func (s *stormFlag) Type() string { return "readers,backlog" }

func (s *stormFlag) String() string {
	if s.readers == nil || *s.readers == 0 {
		return ""
	}
	return fmt.Sprintf("%d,%d", *s.readers, *s.backlog)
}

func (s *stormFlag) Set(text string) error {
	first, second, _ := strings.Cut(text, ",")
	readers, wrong := strconv.Atoi(first)
	backlog, alsoWrong := strconv.Atoi(second)
	if wrong != nil || alsoWrong != nil || readers < 1 || backlog < 1 {
		return fmt.Errorf("%q is not a number of readers and of outcomes such as 200,20000", text)
	}
	*s.readers, *s.backlog = readers, backlog
	return nil
}

// watchLines are what those who watched were told, for people.
func watchLines(w *load.WatchReport, line func(name, format string, args ...any)) {
	if w.Watchers > 0 {
		line("POST→SSE", "%s", latencyText(w.PostToTold, "landings told"))
		line("", "%s watchers of %s streams each, %s streams in all, deliver=%s: %s pushes, %s reconnects", count(w.Watchers),
			count(w.Each), count(w.Watched), w.Deliver, count(w.Pushes), count(w.Reconnects))
	}
	if w.Parked.Count > 0 {
		line("202→SSE", "%s", latencyText(w.Parked, "parked commands, from their predecessor's 202 until their session was told"))
	}
	if f := w.Fan; f != nil {
		of := fmt.Sprintf("landings, each told to %s watchers of one stream", count(f.Watchers))
		line("POST→last", "%s", latencyText(f.PostToLast, of))
	}
	if s := w.Storm; s != nil && s.Seconds > 0 {
		meanwhile := "while landing went on at %s/s"
		if !s.Sending {
			meanwhile = "sending ended before that; until then and after it was %s/s"
		}
		line("storm", "%s readers, each %s outcomes behind, had caught up in %.2f s, "+meanwhile,
			count(s.Readers), count(s.Backlog), s.Seconds, count(int(s.LandedPerSecond)))
	}
	if i := w.Idle; i != nil {
		if i.Unknown != "" {
			line("idle", "%s connections, of unknown cost: %s", count(i.Connections), i.Unknown)
			return
		}
		line("idle", "%s connections: %.1f KB each of resident memory, %.1f KB in use (%d MB before, %d MB after, %d MB in the end)",
			count(i.Connections), i.PerConnection/1024, i.LivePerConnection/1024,
			i.Before.Resident>>20, i.After.Resident>>20, i.End.Resident>>20)
	}
}
