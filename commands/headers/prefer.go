// Package headers reads the request headers that several endpoints understand in the same way: Prefer
// with its wait (RFC 7240), entity tags in conditions (RFC 9110 section 13), and what kind of content is
// sent and taken. It writes the few that answers of JSON share.
//
//	seconds, asked := headers.Wait(r.Header["Prefer"])
//	tag, err := headers.OneTag(r.Header["If-Match"])
//
// Every function takes the values of one header as net/http keeps them, a slice with one text for each
// line of that name, and allocates nothing where a header is written the usual way.
package headers

import (
	"strconv"
	"strings"
)

// MaxWait is the longest a request may ask to wait, in seconds (DESIGN section 3).
const MaxWait = 30

// Wait reads the preference wait=N of RFC 7240: how many seconds the client would like to wait for an
// answer, MaxWait at most. Only the first wait counts (section 2), and one that is not a number of
// seconds is passed over, as is every preference that is not understood.
func Wait(prefer []string) (seconds int, asked bool) {
	for _, line := range prefer {
		for rest := line; rest != ""; {
			var item string
			item, rest = nextItem(rest)
			name, value := splitPreference(item)
			if !strings.EqualFold(name, "wait") {
				continue
			}
			return waitSeconds(value)
		}
	}
	return 0, false
}

func waitSeconds(value string) (int, bool) {
	if value == "" {
		return 0, false
	}
	for i := range len(value) {
		if value[i] < '0' || value[i] > '9' {
			return 0, false
		}
	}
	n, err := strconv.Atoi(value)
	if err != nil || n > MaxWait { // the only error left is a number that is too large
		n = MaxWait
	}
	return n, true
}

// Applied is the value of Preference-Applied for a wait of 0 to MaxWait seconds. The slice is shared:
// put it into a header as it is and do not change it.
func Applied(seconds int) []string { return applied[seconds][:1:1] }

var applied = func() (table [MaxWait + 1][]string) {
	for i := range table {
		table[i] = []string{"wait=" + strconv.Itoa(i)}
	}
	return table
}()

// splitPreference reads `name [= value] *(; parameter)`, and takes the quotes off the value.
func splitPreference(item string) (name, value string) {
	if end := indexOutsideQuotes(item, ';'); end >= 0 {
		item = item[:end]
	}
	name, value, _ = strings.Cut(item, "=")
	name, value = trim(name), trim(value)
	if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
		value = value[1 : len(value)-1]
	}
	return name, value
}

// nextItem cuts the first item off a comma-separated list, minding quoted texts.
func nextItem(list string) (item, rest string) {
	if end := indexOutsideQuotes(list, ','); end >= 0 {
		return trim(list[:end]), list[end+1:]
	}
	return trim(list), ""
}

func indexOutsideQuotes(text string, sought byte) int {
	quoted := false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			quoted = !quoted
		case c == '\\' && quoted:
			i++
		case c == sought && !quoted:
			return i
		}
	}
	return -1
}

func trim(text string) string { return strings.Trim(text, " \t") }
