//go:build unix

package endtoend

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands"
)

// The measures of the process log: the receipt phase of a municipality's building permits.
const (
	permits     = 1434
	permitSteps = 8577
)

// processLog is the file of that log, one command a line, or one of the same shape where there is none.
func processLog(t *testing.T) string {
	t.Helper()
	folder := os.Getenv("DOORMAN_DATA")
	if folder == "" {
		folder = filepath.Join("..", "..", "..", "shared", "data")
	}
	path := filepath.Join(folder, "permits.jsonl.gz")
	if _, err := os.Stat(path); err == nil {
		return path
	}
	t.Logf("there is no %s (DOORMAN_DATA names the folder): a log of the same shape is made up", path)
	return madeUpLog(t)
}

// madeUpLog has as many cases and steps as the real one, interleaved like it, with ids at random.
func madeUpLog(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "permits.jsonl")
	file, err := os.Create(path)
	require.NoError(t, err)
	w := bufio.NewWriter(file)
	random := rand.New(rand.NewPCG(1, 2))
	last := map[int]commands.ID{}
	for step := range permitSteps {
		// Each case begins once, in order; then anybody's turn among the newest few.
		newest := min(step*permits/permitSteps, permits-1)
		which := max(0, newest-random.IntN(40))
		if _, begun := last[newest]; !begun {
			which = newest
		}
		kind, ticket := "patch", last[which]
		if ticket == commands.None {
			kind, ticket = "create", commands.Genesis
		}
		id := commands.NewID()
		_, err := fmt.Fprintf(w, `{"id":%q,"stream":"document/permit-%d","type":%q,"ticket":%q,"session":"Resource%02d",`+
			`"data":{"activity":"T%02d","resource":"Resource%02d","step":%d,"case:responsible":"Resource%02d"}}`+"\n",
			id, which, kind, ticket, which%48, step%27, step%48, step, which%48)
		require.NoError(t, err)
		last[which] = id
	}
	require.NoError(t, w.Flush())
	require.NoError(t, file.Close())
	require.Len(t, last, permits)
	return path
}

// A real log, sent out of order and some of it twice, comes to what it comes to in order: the first of all
// promises, to those who look at documents and not at logs.
func TestARealLogComesToTheSameInAnyOrder(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p *place) {
		server := p.start(t)
		began := time.Now()
		sending := doorman(t, nil, "send", "-f", processLog(t), "--url", p.url(), "--shuffle", "64", "--duplicate", "5%", "--verify",
			"--parallel", "64", "--seed", strconv.FormatUint(seed(t).Uint64N(1<<32), 10))
		require.Equal(t, 0, sending.exit(), "%s%s", &sending.out, sending.log)
		t.Logf("in %s:\n%s", time.Since(began).Round(time.Millisecond), &sending.out)
		told := sending.out.String()
		require.Regexp(t, fmt.Sprintf(`(?m)^sent +%d `, permitSteps), told)
		require.Regexp(t, fmt.Sprintf(`(?m)^landed +%d `, permitSteps), told)
		require.Regexp(t, `(?m)^rejected +0\b`, told)
		require.Regexp(t, fmt.Sprintf(`(?m)^verified +%d documents`, permits), told)
		twice, err := strconv.Atoi(regexp.MustCompile(`(\d+) of them twice`).FindStringSubmatch(told)[1])
		require.NoError(t, err)
		require.Greater(t, twice, permitSteps/40)
		require.GreaterOrEqual(t, metric(t, p, "doorman_repeats_total"), twice, "what came twice was told the first one's fate")
		require.Equal(t, permitSteps, metric(t, p, landings))
		server.stop()
	})
}

// Who sends a file does not notice that the server is killed twice meanwhile: what got no answer is sent
// again with the same id.
func TestSendingARealLogGoesOnAfterKills(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, p *place) {
		random := seed(t)
		server := p.start(t)
		sending := doorman(t, nil, "send", "-f", processLog(t), "--url", p.url(), "--shuffle", "64", "--verify",
			"--parallel", "16", "--array", "8", "--seed", strconv.FormatUint(random.Uint64N(1<<32), 10))
		for range 2 {
			enough, late := permitSteps/8+random.IntN(permitSteps/8), soon(t)
			for metric(t, p, landings) < enough {
				select {
				case <-sending.ended:
					require.FailNow(t, "it ended before the server was killed", "%s%s", &sending.out, sending.log)
				case <-late.Done():
					require.FailNow(t, "in vain: commands land", "%s", sending.log)
				default:
				}
			}
			server.kill()
			server = p.start(t)
		}
		require.Equal(t, 0, sending.exit(), "%s%s", &sending.out, sending.log)
		require.Regexp(t, fmt.Sprintf(`(?m)^landed +%d `, permitSteps), sending.out.String())
		require.Regexp(t, fmt.Sprintf(`(?m)^verified +%d documents`, permits), sending.out.String())
		require.Less(t, metric(t, p, landings), permitSteps*3/4, "the last process has not done it all")
	})
}

// landings counts the documents' that a process has seen.
const landings = `doorman_outcomes_total{reason="",status="landed",type="document"}`

// metric reads one from the operators' address; what was never counted is 0.
func metric(t *testing.T, p *place, name string) int {
	t.Helper()
	response, err := p.operator.Get("http://" + p.admin + "/metrics") //nolint:noctx // the client has its time
	require.NoError(t, err)
	defer response.Body.Close()
	require.Equal(t, http.StatusOK, response.StatusCode)
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	found := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + ` (\S+)$`).FindSubmatch(text)
	if found == nil {
		return 0 // it counts what has not happened yet
	}
	value, err := strconv.ParseFloat(string(found[1]), 64)
	require.NoError(t, err)
	return int(value)
}
