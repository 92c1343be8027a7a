package deploy

import (
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strings"
	"text/tabwriter"
)

// Effective is one setting as it stands.
type Effective struct {
	Key    string `json:"key"`
	Value  any    `json:"value"` // string, int, bool or []string; secrets are masked
	Source string `json:"source"`
	Doc    string `json:"-"`
}

// Effective lists every setting with its value and where that comes from.
func (c *Config) Effective() []Effective {
	all := make([]Effective, len(settings))
	for i := range settings {
		s := &settings[i]
		value := s.value(c)
		if s.secret {
			value = mask(s.text(c))
		}
		all[i] = Effective{Key: s.key, Value: value, Source: c.source(s.key), Doc: s.doc}
	}
	return all
}

// mask hides what a URL holds of secrets: its password, and its parameters, of which one may be a
// password. What is not a URL is hidden whole.
func mask(secret string) string {
	if secret == "" {
		return ""
	}
	if strings.HasPrefix(secret, "amqp") && strings.Contains(secret, ",") {
		return maskEach(secret)
	}
	u, err := url.Parse(secret)
	if err != nil || u.Host == "" {
		return "xxxxx"
	}
	if _, has := u.User.Password(); has {
		u.User = url.UserPassword(u.User.Username(), "xxxxx")
	}
	if query := u.Query(); query.Has("password") || query.Has("sslpassword") {
		u.RawQuery = "xxxxx"
	}
	return u.String()
}

// maskEach masks the URLs of a cluster's nodes, which are separated by commas. Where there is a comma within
// one, all is hidden.
func maskEach(secrets string) string {
	all := strings.Split(secrets, ",")
	for i, one := range all {
		one = strings.TrimSpace(one)
		if !strings.HasPrefix(one, "amqp://") && !strings.HasPrefix(one, "amqps://") {
			return "xxxxx"
		}
		all[i] = mask(one)
	}
	return strings.Join(all, ",")
}

// ConfigFormats are the forms that [Config.Print] knows.
var ConfigFormats = []string{"text", "yaml", "json"}

// Print writes the effective configuration: as a table, as YAML that --config reads, with the sources as
// comments, or as a JSON object from key to value and source.
func (c *Config) Print(w io.Writer, format string) error {
	switch format {
	case "text":
		table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "SETTING\tVALUE\tSOURCE")
		for _, e := range c.Effective() {
			fmt.Fprintf(table, "%s\t%s\t%s\n", e.Key, plain(e.Value), e.Source)
		}
		return table.Flush()
	case "yaml":
		for _, e := range c.Effective() {
			// What encoding/json writes for these values is YAML too.
			value, err := json.Marshal(e.Value)
			if err != nil {
				return fmt.Errorf("setting %s: %w", e.Key, err)
			}
			if _, err := fmt.Fprintf(w, "%s: %s # %s\n", e.Key, value, e.Source); err != nil {
				return err
			}
		}
		return nil
	case "json":
		byKey := map[string]Effective{}
		for _, e := range c.Effective() {
			byKey[e.Key] = e
		}
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		return encoder.Encode(byKey)
	}
	return fmt.Errorf("%q is none of %s", format, strings.Join(ConfigFormats, ", "))
}

func plain(value any) string {
	text := fmt.Sprint(value)
	if items, ok := value.([]string); ok {
		text = strings.Join(items, ",")
	}
	if text == "" {
		return "-"
	}
	return text
}
