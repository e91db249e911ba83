package config

import (
	"reflect"
	"testing"
	"time"
)

type settings struct {
	Name    string
	Rate    float64 `json:"per_second"`
	Most    uint8
	On      bool
	Every   time.Duration
	Hosts   []string
	Shares  map[string]int
	Backend *struct{ Port int }
	Any     any
}

func TestWhatIsWritten(t *testing.T) {
	var read settings
	text := ` {"name": "\u00fc\"\n\ud83d\ude00", "per_second": -1.5e2, "most": 255, "on": true, "every": "1m30s",
		"hosts": ["a", "b"], "shares": {"a": 1}, "backend": {"port": 80}, "any": [1, {"x": null}], "extra": {}}`
	if err := Decode(text, &read); err == nil || err.Error() != "extra: is not a key that the plugin knows" {
		t.Fatal(err)
	}
	read = settings{}
	if err := Decode(text[:len(text)-14]+"}", &read); err != nil {
		t.Fatal(err)
	}
	want := settings{
		"ü\"\n😀", -150, 255, true, 90 * time.Second, []string{"a", "b"}, map[string]int{"a": 1},
		&struct{ Port int }{80}, []any{1.0, map[string]any{"x": nil}},
	}
	if !reflect.DeepEqual(read, want) {
		t.Fatalf("%+v", read)
	}
}

func TestWhatIsWrong(t *testing.T) {
	for text, want := range map[string]string{
		`{"name": 1}`:              "name: must be a text",
		`{"most": 256}`:            "most: must be a whole number of 8 bits, not less than 0",
		`{"on": "true"}`:           "on: must be true or false",
		`{"every": 10}`:            "every: must be a duration, such as \"10s\"",
		`{"hosts": ["a", 1]}`:      "hosts[1]: must be a text",
		`{"shares": {"a": 0.5}}`:   "shares.a: must be a whole number of 64 bits",
		`{"backend": {"prot": 1}}`: "backend.prot: is not a key that the plugin knows",
		`[]`:                       "the configuration must be a table",
		`{"name": "`:               "the configuration is no JSON",
		`{"name" 1}`:               "the configuration is no JSON",
		`{"hosts": [,]}`:           "the configuration is no JSON",
		`{"name": "\x"}`:           "the configuration is no JSON",
	} {
		if err := Decode(text, new(settings)); err == nil || err.Error() != want {
			t.Errorf("%s: %v", text, err)
		}
	}
}
