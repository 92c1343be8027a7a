package sqlite_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ticketed/doorman/commands"
	"github.com/ticketed/doorman/projections/catalog"
	"github.com/ticketed/doorman/projections/runner"
	"github.com/ticketed/doorman/projections/sqlite"
)

const childDir = "DOORMAN_TEST_PROJECTIONS_DIR"

// TestMain lets this binary be the process that is killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := followForEver(dir, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	goleak.VerifyTestMain(m)
}

// endless is a log without an end, the same in every process: what is at a position follows from it.
type endless struct{}

func (endless) Read(_ context.Context, after uint64, limit int) ([]*commands.Outcome, error) {
	outcomes := make([]*commands.Outcome, min(limit, 50))
	for i := range outcomes {
		n := after + uint64(i) + 1 //nolint:gosec // a few
		id := commands.ID{15: 1}
		id[0], id[1], id[2], id[3] = byte(n>>24), byte(n>>16), byte(n>>8), byte(n) //nolint:gosec // its bytes
		outcomes[i] = &commands.Outcome{Position: n, ID: id, Stream: commands.Stream{Type: "order", ID: fmt.Sprint(n * n % 307)},
			Version: n, At: time.UnixMicro(int64(n)).UTC()} //nolint:gosec // a few
	}
	return outcomes, nil
}

func (endless) Await(context.Context, uint64) error { return nil }
func (endless) End(context.Context) (uint64, error) { return 1 << 40, nil }

// telling tells the position after each batch.
type telling struct {
	*catalog.Catalog
	to  io.Writer
	end chan<- error
}

func (t telling) Apply(ctx context.Context, outcomes []*commands.Outcome, at runner.Checkpoint) error {
	err := t.Catalog.Apply(ctx, outcomes, at)
	if err == nil {
		_, err = fmt.Fprintln(t.to, at.After(outcomes).Position)
	}
	if err != nil {
		t.end <- err
	}
	return err
}

func followForEver(dir string, tell io.Writer) error {
	p, err := sqlite.Open(context.Background(), sqlite.Config{Dir: dir})
	if err != nil {
		return err
	}
	end := make(chan error, 1)
	r, err := runner.New(runner.Config{Log: endless{}, Epoch: "e1", End: endless{}.End, MaxOutcomes: 100, Every: time.Nanosecond,
		Projection: telling{catalog.New(p.Catalog()), tell, end}})
	if err != nil {
		return err
	}
	if err := r.Start(context.Background()); err != nil {
		return err
	}
	return <-end
}

// Rows and checkpoint survive kill -9 together: the catalog is that of the log up to its checkpoint.
func TestWhatWasAppliedSurvivesKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var before uint64
	for round := range 4 {
		told := killedAfter(t, dir, 10+23*round)
		require.Greater(t, told, before, "it goes on where it was")
		p := open(t, dir)
		page, err := p.Catalog().Page(t.Context(), catalog.Ask{Limit: 1000})
		require.NoError(t, err)
		require.Equal(t, "e1", page.At.Epoch)
		require.GreaterOrEqual(t, page.At.Position, told)
		require.Equal(t, foldUpTo(t, page.At.Position), page.Rows)
		require.NoError(t, p.Close())
		before = page.At.Position
	}
}

func foldUpTo(t *testing.T, position uint64) []catalog.Row {
	t.Helper()
	var all []*commands.Outcome
	for uint64(len(all)) < position {
		more, err := endless{}.Read(t.Context(), uint64(len(all)), int(position)-len(all)) //nolint:gosec // a few
		require.NoError(t, err)
		all = append(all, more...)
	}
	rows := catalog.Fold(all)
	slices.Reverse(rows)
	return rows
}

// killedAfter starts the child, kills it after it told of so many batches, and gives the last position told.
func killedAfter(t *testing.T, dir string, batches int) (told uint64) {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0]) //nolint:gosec // this very program
	child.Env = append(os.Environ(), childDir+"="+dir)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	lines := bufio.NewScanner(out)
	for n := 0; lines.Scan(); n++ {
		told, err = strconv.ParseUint(lines.Text(), 10, 64)
		require.NoError(t, err)
		if n == batches {
			require.NoError(t, child.Process.Kill())
		}
	}
	require.Error(t, child.Wait(), "it was killed")
	require.NotZero(t, told)
	return told
}
