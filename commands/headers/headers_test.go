package headers_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ticketed/doorman/commands/headers"
)

func ExampleWait() {
	seconds, asked := headers.Wait([]string{"respond-async, wait=5"})
	fmt.Println(seconds, asked, headers.Applied(seconds))
	// Output: 5 true [wait=5]
}

func ExampleOneTag() {
	ticket, _ := headers.OneTag([]string{`"genesis"`})
	_, err := headers.OneTag([]string{`W/"genesis"`})
	fmt.Println(ticket)
	fmt.Println(err)
	// Output:
	// genesis
	// a weak entity tag cannot be compared here
}

func TestWaitFollowsRFC7240(t *testing.T) {
	for _, c := range []struct {
		prefer  []string
		seconds int
		asked   bool
	}{
		{nil, 0, false},
		{[]string{""}, 0, false},
		{[]string{"wait=5"}, 5, true},
		{[]string{"WAIT=5"}, 5, true},
		{[]string{" wait = 5 "}, 5, true},
		{[]string{`wait="5"`}, 5, true},
		{[]string{"wait=0"}, 0, true},
		{[]string{"wait=30"}, 30, true},
		{[]string{"wait=31"}, 30, true},
		{[]string{"wait=99999999999999999999999"}, 30, true},
		{[]string{"wait=-1"}, 0, false},
		{[]string{"wait=+1"}, 0, false},
		{[]string{"wait=1.5"}, 0, false},
		{[]string{"wait=x"}, 0, false},
		{[]string{"wait="}, 0, false},
		{[]string{"wait"}, 0, false},
		{[]string{"respond-async, wait=7"}, 7, true},
		{[]string{"respond-async; wait=7"}, 0, false}, // a parameter of another preference
		{[]string{"wait=7; foo=bar, handling=lenient"}, 7, true},
		{[]string{`foo="a, wait=9", wait=3`}, 3, true},
		{[]string{`foo="a\", wait=9", wait=3`}, 3, true},
		{[]string{`foo; x="a;wait=9,wait=8", wait=3`}, 3, true},
		{[]string{"respond-async", "wait=4"}, 4, true},
		{[]string{"wait=1, wait=2"}, 1, true}, // section 2: only the first one counts
		{[]string{"wait=1", "wait=2"}, 1, true},
		{[]string{"await=4"}, 0, false},
	} {
		seconds, asked := headers.Wait(c.prefer)
		require.Equal(t, c.asked, asked, "%q", c.prefer)
		require.Equal(t, c.seconds, seconds, "%q", c.prefer)
	}
}

func TestOneTagTakesExactlyOneStrongTag(t *testing.T) {
	for _, c := range []struct {
		values []string
		tag    string
		err    error
	}{
		{[]string{`"abc"`}, "abc", nil},
		{[]string{` "abc" `}, "abc", nil},
		{[]string{`"a,b"`}, "a,b", nil},
		{[]string{`"a\"`}, `a\`, nil},
		{[]string{`""`}, "", nil},
		{[]string{`"a", "b"`}, "", headers.ErrManyTags},
		{[]string{`"a"`, `"b"`}, "", headers.ErrManyTags},
		{[]string{`*`}, "", headers.ErrAnyTag},
		{[]string{`W/"a"`}, "", headers.ErrWeakTag},
		{[]string{`a`}, "", headers.ErrNoTag},
		{[]string{``}, "", headers.ErrNoTag},
		{[]string{`"`}, "", headers.ErrNoTag},
		{[]string{`"a b"`}, "", headers.ErrNoTag},
		{[]string{`"a"b"`}, "", headers.ErrNoTag},
	} {
		tag, err := headers.OneTag(c.values)
		require.ErrorIs(t, err, c.err, "%q", c.values)
		require.Equal(t, c.tag, tag, "%q", c.values)
	}
}

func TestNamesTagComparesWeakly(t *testing.T) {
	for _, c := range []struct {
		values     []string
		named, all bool
	}{
		{nil, false, false},
		{[]string{`"t"`}, true, false},
		{[]string{`W/"t"`}, true, false},
		{[]string{`"a", "t"`}, true, false},
		{[]string{`"a"`, `"t"`}, true, false},
		{[]string{`"a,t"`}, false, false},
		{[]string{`t`}, false, false},
		{[]string{`*`}, true, true},
		{[]string{`"*"`}, false, false},
	} {
		named, all := headers.NamesTag(c.values, "t")
		require.Equal(t, c.named, named, "%q", c.values)
		require.Equal(t, c.all, all, "%q", c.values)
	}
}

func TestSendsJSON(t *testing.T) {
	for value, want := range map[string]bool{
		"application/json":                  true,
		"Application/JSON":                  true,
		"application/json; charset=utf-8":   true,
		`application/json; charset="UTF-8"`: true,
		"application/json;charset=latin1":   false,
		"application/json;;":                false,
		"application/problem+json":          false,
		"text/json":                         false,
		"text/plain":                        false,
		"":                                  false,
	} {
		require.Equal(t, want, headers.SendsJSON([]string{value}), "%q", value)
	}
	require.False(t, headers.SendsJSON(nil), "a body without a type is not guessed at")
	require.False(t, headers.SendsJSON([]string{"application/json", "application/json"}))
}

func TestTakesJSON(t *testing.T) {
	for value, want := range map[string]bool{
		"*/*":                                   true,
		"application/json":                      true,
		"application/*":                         true,
		"text/html, */*;q=0.8":                  true,
		"text/html":                             false,
		"":                                      false,
		"text/event-stream, application/json":   true,
		"application/json;q=0":                  false,
		"application/json;q=0, */*":             false,
		"*/*, application/json; q=0.0":          false,
		"*/*;q=0, application/json":             true,
		"APPLICATION/JSON;version=1;q=0.1":      true,
		`text/plain;x="a,application/json"`:     false,
		"application/problem+json, text/x;q=.1": false,
	} {
		require.Equal(t, want, headers.TakesJSON([]string{value}), "%q", value)
	}
	require.True(t, headers.TakesJSON(nil))
}

func TestUsualHeadersAllocateNothing(t *testing.T) {
	prefer, tag, kind := []string{"respond-async, wait=5"}, []string{`"genesis"`}, []string{"application/json"}
	require.Zero(t, testing.AllocsPerRun(100, func() {
		headers.Wait(prefer)
		headers.OneTag(tag)
		headers.NamesTag(tag, "x")
		headers.SendsJSON(kind)
		headers.TakesJSON(nil)
		headers.Applied(5)
	}))
}

func TestAnAnswerIsDescribed(t *testing.T) {
	t.Parallel()
	small, large := map[string][]string{}, map[string][]string{}
	headers.DescribeJSON(small, headers.NoStore, headers.Unmeasured)
	require.Equal(t, map[string][]string{"Content-Type": {"application/json"}, "Cache-Control": {"no-store"}}, small)
	headers.DescribeJSON(large, headers.Revalidate, 5000)
	require.Equal(t, map[string][]string{"Content-Type": {"application/json"}, "Cache-Control": {"no-cache"},
		"Content-Length": {"5000"}}, large)
}
