package headers

import (
	"errors"
	"strings"
)

// What OneTag says about a header that does not hold exactly one strong entity tag.
var (
	ErrManyTags = errors.New("it must hold one entity tag, not a list")
	ErrAnyTag   = errors.New(`it must name one ticket; "*" names none`)
	ErrWeakTag  = errors.New("a weak entity tag cannot be compared here")
	ErrNoTag    = errors.New(`it must hold an entity tag in double quotes, like "genesis"`)
)

// OneTag reads a header that must hold exactly one strong entity tag and returns what stands between
// its quotes. The error is one of those above, a sentence's end that can follow the header's name.
func OneTag(values []string) (string, error) {
	if len(values) != 1 {
		return "", ErrManyTags
	}
	item, rest := nextTag(values[0])
	switch {
	case trim(rest) != "":
		return "", ErrManyTags
	case item == "*":
		return "", ErrAnyTag
	case strings.HasPrefix(item, "W/"):
		return "", ErrWeakTag
	case !validTag(item):
		return "", ErrNoTag
	}
	return item[1 : len(item)-1], nil
}

// NamesTag tells whether the values of If-None-Match name a tag, given without its quotes: by weak
// comparison (RFC 9110 section 8.8.3.2). all is true when they hold "*", which names whatever exists.
func NamesTag(values []string, tag string) (named, all bool) {
	for _, line := range values {
		for rest := line; rest != ""; {
			var item string
			item, rest = nextTag(rest)
			if item == "*" {
				return true, true
			}
			item = strings.TrimPrefix(item, "W/")
			if validTag(item) && item[1:len(item)-1] == tag {
				return true, false
			}
		}
	}
	return false, false
}

// nextTag cuts the first item off a list of entity tags. Unlike in other lists a backslash between the
// quotes is a character like any other.
func nextTag(list string) (item, rest string) {
	quoted := false
	for i := range len(list) {
		switch c := list[i]; {
		case c == '"':
			quoted = !quoted
		case c == ',' && !quoted:
			return trim(list[:i]), list[i+1:]
		}
	}
	return trim(list), ""
}

// validTag checks an opaque-tag with its quotes: RFC 9110 section 8.8.3.
func validTag(item string) bool {
	if len(item) < 2 || item[0] != '"' || item[len(item)-1] != '"' {
		return false
	}
	for i := 1; i < len(item)-1; i++ {
		if c := item[i]; c < 0x21 || c == '"' || c == 0x7f {
			return false
		}
	}
	return true
}
