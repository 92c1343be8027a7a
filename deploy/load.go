package deploy

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"sort"
	"strings"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
)

const (
	envPrefix  = "DOORMAN_"
	configFlag = "config"
)

// AddFlags adds a flag for every setting, or for those named, and --config to a set. They are read by
// [Load].
func AddFlags(set *pflag.FlagSet, keys ...string) {
	set.SortFlags = false
	AddConfigFlag(set)
	for i := range settings {
		s := &settings[i]
		if len(keys) > 0 && !slices.Contains(keys, s.key) {
			continue
		}
		flag := set.VarPF(&rawFlag{text: s.fallback, kind: s.kind}, s.flag(), "", s.doc)
		if s.kind == "bool" {
			flag.NoOptDefVal = "true"
		}
	}
}

// AddConfigFlag adds --config alone.
func AddConfigFlag(set *pflag.FlagSet) {
	set.String(configFlag, "", "YAML `file` with settings, keys as shown by 'doorman config -o yaml'")
}

// rawFlag keeps a flag's text as it was given: it is judged together with all other settings, so that
// everything wrong is told at once.
type rawFlag struct{ text, kind string }

func (f *rawFlag) String() string        { return f.text }
func (f *rawFlag) Set(text string) error { f.text = text; return nil }
func (f *rawFlag) Type() string          { return f.kind }

// layer is one source of settings; a later one overrides the earlier.
type layer struct {
	values *koanf.Koanf
	source func(key string) string
}

// Load reads the configuration: flags before environment before file before defaults. The set is one that
// AddFlags was called on, after parsing; nil means no flags. environ holds KEY=value pairs. An empty
// variable counts as not set.
//
// The error is a [ConfigError] with everything that is wrong: values that cannot be read, keys of the
// file and DOORMAN_ variables that are no settings, and what [Config.Validate] finds.
func Load(flags *pflag.FlagSet, environ []string) (*Config, error) {
	env, problems := envLayer(environ)
	fromFile, more := fileLayer(configPath(flags, environ))
	problems = append(problems, more...)
	layers := []layer{fromFile, env, flagLayer(flags)}

	c := Defaults()
	c.sources = map[string]string{}
	unreadable := map[string]bool{}
	for _, l := range layers {
		for i := range settings {
			s := &settings[i]
			if l.values == nil || !l.values.Exists(s.key) {
				continue
			}
			c.sources[s.key] = l.source(s.key)
			unreadable[s.key] = false
			if err := s.read(c, l.values.Get(s.key)); err != nil {
				problems = append(problems, Problem{s.key, l.source(s.key), err.Error()})
				unreadable[s.key] = true
			}
		}
	}
	for _, p := range c.check() {
		if !unreadable[p.Key] {
			problems = append(problems, p)
		}
	}
	return c, configError(problems)
}

// read takes a value as a layer gives it: text, or what YAML makes of a scalar or a list.
func (s *setting) read(c *Config, value any) error {
	switch value := value.(type) {
	case nil:
		return fmt.Errorf("it has no value")
	case []any:
		if s.kind != "list" {
			return fmt.Errorf("a list was given where one value belongs")
		}
		items := make([]string, len(value))
		for i, item := range value {
			items[i] = fmt.Sprint(item)
		}
		return s.set(c, strings.Join(items, ","))
	case map[string]any:
		return fmt.Errorf("a mapping was given where a value belongs")
	default:
		return s.set(c, fmt.Sprint(value))
	}
}

func flagLayer(flags *pflag.FlagSet) layer {
	given := map[string]any{}
	if flags != nil {
		for i := range settings {
			s := &settings[i]
			if flag := flags.Lookup(s.flag()); flag != nil && flag.Changed {
				given[s.key] = flag.Value.String()
			}
		}
	}
	return layer{values: fromMap(given), source: func(key string) string {
		return "flag --" + strings.ReplaceAll(key, "_", "-")
	}}
}

func configPath(flags *pflag.FlagSet, environ []string) (path, source string) {
	if flags != nil {
		if flag := flags.Lookup(configFlag); flag != nil && flag.Changed {
			return flag.Value.String(), "flag --" + configFlag
		}
	}
	name := envPrefix + strings.ToUpper(configFlag)
	for _, pair := range environ {
		if key, value, _ := strings.Cut(pair, "="); key == name {
			path, source = value, "environment "+name
		}
	}
	return path, source
}

func fileLayer(path, source string) (layer, []Problem) {
	if path == "" {
		return layer{}, nil
	}
	values := koanf.New(".")
	if err := values.Load(file.Provider(path), yaml.Parser()); err != nil {
		detail := err.Error()
		if !strings.Contains(detail, path) {
			detail = path + ": " + detail
		}
		return layer{}, []Problem{{configFlag, source, detail}}
	}
	from := "file " + path
	var problems []Problem
	for _, key := range values.Keys() {
		if _, known := findSetting(key); !known {
			problems = append(problems, Problem{key, from, "there is no such setting" + didYouMean(key, settingKeys())})
		}
	}
	return layer{values: values, source: func(string) string { return from }}, problems
}

// foreign are variables with our prefix that are not ours to judge: what Kubernetes sets in every pod for
// a service whose name begins with doorman, the address that client commands take, and what tests use.
var foreign = regexp.MustCompile(`^DOORMAN_(.*_)?(SERVICE_(HOST|PORT)(_.*)?|PORT(_\d+_(TCP|UDP)(_.*)?)?)$|^DOORMAN_(URL|DATA|TEST_.*)$`)

func envLayer(environ []string) (layer, []Problem) {
	given, from := map[string]any{}, map[string]string{}
	var problems []Problem
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, envPrefix) || value == "" || foreign.MatchString(name) {
			continue
		}
		key := strings.ToLower(strings.TrimPrefix(name, envPrefix))
		s, known := findSetting(key)
		if known && s.env() == name {
			given[key], from[key] = value, "environment "+name
			continue
		}
		if name == envPrefix+strings.ToUpper(configFlag) {
			continue
		}
		if s, known = findSetting(strings.TrimSuffix(key, "_file")); known && s.secret && s.env()+"_FILE" == name {
			continue
		}
		problems = append(problems, Problem{name, "environment", "there is no such setting" + didYouMean(name, envNames())})
	}
	problems = append(problems, secretFiles(environ, given, from)...)
	sort.Slice(problems, func(i, j int) bool { return problems[i].Key < problems[j].Key })
	return layer{values: fromMap(given), source: func(key string) string { return from[key] }}, problems
}

// secretFiles reads the files named by variables such as DOORMAN_POSTGRES_URL_FILE, the way secrets are
// mounted into containers.
func secretFiles(environ []string, given map[string]any, from map[string]string) []Problem {
	var problems []Problem
	for _, pair := range environ {
		name, path, _ := strings.Cut(pair, "=")
		for i := range settings {
			s := &settings[i]
			if !s.secret || name != s.env()+"_FILE" || path == "" {
				continue
			}
			if _, both := given[s.key]; both {
				problems = append(problems, Problem{s.key, "environment " + name,
					s.env() + " is set as well; only one of them can be meant"})
				continue
			}
			content, err := os.ReadFile(path)
			if err != nil {
				problems = append(problems, Problem{s.key, "environment " + name, err.Error()})
				continue
			}
			given[s.key] = strings.TrimRight(string(content), "\r\n")
			from[s.key] = "file " + path + " named by " + name
		}
	}
	return problems
}

func fromMap(values map[string]any) *koanf.Koanf {
	k := koanf.New(".")
	// A map that is given cannot fail to load.
	_ = k.Load(confmap.Provider(values, ""), nil)
	return k
}

func settingKeys() []string {
	keys := make([]string, len(settings))
	for i := range settings {
		keys[i] = settings[i].key
	}
	return keys
}

func envNames() []string {
	names := []string{envPrefix + strings.ToUpper(configFlag)}
	for i := range settings {
		names = append(names, settings[i].env())
		if settings[i].secret {
			names = append(names, settings[i].env()+"_FILE")
		}
	}
	return names
}

// didYouMean names the candidate nearest to what was written, if one is near.
func didYouMean(written string, candidates []string) string {
	best, distance := "", len(written)/3+1
	for _, candidate := range candidates {
		if d := editDistance(strings.ToLower(written), strings.ToLower(candidate)); d < distance {
			best, distance = candidate, d
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + best + "?"
}

// editDistance is Levenshtein's: insertions, deletions and replacements of bytes.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
