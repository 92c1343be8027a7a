package aggregate_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/aggregate"
	"github.com/ticketed/doorman/commands"
)

func TestWhatIsParkedAndMovedInOneRoundIsParkedOnce(t *testing.T) {
	t.Parallel()
	s := newStage()
	inst := aggregate.NewInstance(s.kind, streamOf("a"))
	r := s.round()
	r.Take(inst, s.command(t, "A3", "A2", "add"))
	s.clock += time.Second // the lane is worked while the round is open
	r.Take(inst, s.command(t, "A2", "A1", "add"))
	r.Finish()
	require.Len(t, r.Result.Park, 2)
	require.Equal(t, 31*time.Second, r.Result.Park[0].Deadline)
	require.Empty(t, r.Result.Extend)
}

func TestALoopIsRejectedWholeHoweverFullTheRound(t *testing.T) {
	// Half a loop, found after a crash, would look like an ordinary cascade.
	t.Parallel()
	s := newStage()
	s.limits.Round = 1
	inst := aggregate.NewInstance(s.kind, streamOf("a"))
	for _, names := range [][2]string{{"A1", "A3"}, {"A2", "A1"}, {"B1", "A2"}} {
		s.round().Take(inst, s.command(t, names[0], names[1], "add"))
	}
	r := s.round()
	r.Take(inst, s.command(t, "A3", "A2", "add"))
	require.Len(t, r.Result.Outcomes, 3)
	require.True(t, inst.Pending(), "who waits on the loop goes in the next round")
}

func TestAStoreMayKeepWhatARoundGaveIt(t *testing.T) {
	t.Parallel()
	s := newStage()
	s.limits.Round = 2
	inst := aggregate.NewInstance(s.kind, streamOf("a"))
	r := s.round()
	r.Take(inst, s.command(t, "A2", "A1", "add"))
	r.Take(inst, s.command(t, "A1", "genesis", "add"))
	r.Finish()
	require.Len(t, r.Result.Park, 1, "it was released, and the round is full")

	inst = aggregate.Restore(s.kind, inst.Stream, inst.Head, inst.State(), nil, r.Result.Park,
		func(id commands.ID) aggregate.Fact { return s.known[id] }, nil)
	r = s.round()
	require.True(t, r.Resume(inst))
	require.Len(t, r.Result.Outcomes, 1)
}

// DESIGN section 2: the culprit ends as failed. A command is one only for what it is known to break: the
// ticket rules come first, and what cannot be parked may land.
func TestWhatBreaksOneRulingIsRuledAsEverOtherwise(t *testing.T) {
	t.Parallel()
	for breaks, want := range map[aggregate.Ruling][]string{
		aggregate.Admit: {"failed", "stale_ticket", ""},
		aggregate.Park:  {"", "stale_ticket", "failed"},
	} {
		s := newStage()
		inst := aggregate.NewInstance(s.kind, streamOf("a"))
		r := s.round()
		r.Take(inst, s.command(t, "A1", "genesis", "add"))
		r.Broken = func(_ *commands.Envelope, ruling aggregate.Ruling) (string, bool) { return "cause", ruling == breaks }
		for n, names := range [][2]string{{"A2", "A1"}, {"A3", "genesis"}, {"A4", "A9"}} {
			before := len(r.Result.Outcomes)
			r.Take(inst, s.command(t, names[0], names[1], "add"))
			got := ""
			if len(r.Result.Outcomes) > before {
				got = string(r.Result.Outcomes[before].Reason)
			}
			require.Equal(t, want[n], got, "%s, when it cannot be ruled %d", names[0], breaks)
		}
		require.Len(t, r.Result.Failures, 1)
	}
}

// DESIGN section 2: "What is released goes before later arrivals", an operator's word among them.
func TestAnOrderGoesAfterWhatHasBeenReleased(t *testing.T) {
	t.Parallel()
	s := newStage()
	s.limits.Round = 1
	inst := aggregate.NewInstance(s.kind, streamOf("a"))
	for _, names := range [][2]string{{"A3", "A2"}, {"A2", "A1"}, {"A9", "A8"}, {"A1", "genesis"}} {
		s.round().Take(inst, s.command(t, names[0], names[1], "add"))
	}
	require.True(t, inst.Pending(), "A2 has been released, and with it A3 will be")
	var came []string
	for _, of := range []string{"A3", "A9", "A7"} {
		for {
			r := s.round()
			was, progress := r.RejectParked(inst, name(t, of), "taken off by Olga: a mistake")
			for _, o := range r.Result.Outcomes {
				came = append(came, strings.TrimSpace(nameOf(o.ID)+" "+string(o.Reason)))
			}
			if progress == aggregate.Taken {
				require.Equal(t, of == "A9", was, of)
				break
			}
			require.False(t, was)
		}
	}
	require.Equal(t, []string{"A2", "A3", "A9 rejected_by_operator"}, came)
}
