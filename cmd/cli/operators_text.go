package cli

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ticketed/doorman/projections/admin"
)

// plainLines is a text of several lines, each made plain and put behind an indent: what operators are shown is what
// others have sent.
func plainLines(text, indent string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		line = strings.ReplaceAll(strings.TrimRight(line, "\r\n "), "\t", "    ")
		b.WriteString(strings.TrimRight(indent+plain(line), " ") + "\n")
	}
	return b.String()
}

// brief is the first line of a text, cut to so many characters.
func brief(text string, most int) string {
	first, rest, _ := strings.Cut(strings.TrimSpace(text), "\n")
	first = plain(first)
	switch {
	case utf8.RuneCountInString(first) > most:
		return string([]rune(first)[:most-1]) + "…"
	case rest != "":
		return first + " …"
	}
	return first
}

// instant is a time as people read it, to the second.
func instant(at admin.Moment) string { return time.Time(at).UTC().Format("2006-01-02 15:04:05Z") }

// distance tells how far a time is from now.
func distance(at admin.Moment, now time.Time) string {
	d := time.Time(at).Sub(now)
	if d < 0 {
		return rough(-d) + " ago"
	}
	return "in " + rough(d)
}

func rough(d time.Duration) string {
	switch {
	case d < time.Minute:
		return d.Round(time.Second).String()
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d/time.Minute))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d/time.Hour))
	}
	return fmt.Sprintf("%d days", int(d/(24*time.Hour)))
}

// size is a number of bytes as people read it.
func size(bytes int) string {
	switch {
	case bytes < 1<<10:
		return fmt.Sprintf("%d bytes", bytes)
	case bytes < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(bytes)/(1<<10))
	}
	return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20))
}

// payloadText shows data: JSON indented, what is no text by its size.
func payloadText(p *admin.Payload, indent string) string {
	switch {
	case p.Data != nil:
		text, err := json.MarshalIndent(p.Data, "", "  ")
		if err != nil {
			text = p.Data
		}
		return plainLines(string(text), indent)
	case p.Text != "":
		return plainLines(p.Text, indent)
	case p.Base64 != nil:
		return indent + size(len(p.Base64)) + " that are no text; --json has them in base64\n"
	}
	return indent + "none\n"
}

// fields are lines of a name and a value, the values below each other; empty ones are left out.
func fields(pairs ...string) string {
	width := 0
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			width = max(width, len(pairs[i]))
		}
	}
	var b strings.Builder
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			fmt.Fprintf(&b, "%-*s  %s\n", width, pairs[i], plain(pairs[i+1]))
		}
	}
	return b.String()
}
