package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

func TestSecretNeverPrints(t *testing.T) {
	const value = "hunter2"
	type holder struct {
		Secret  Secret
		Pointer *Secret
		List    []Secret
	}
	s := NewSecret(value)
	h := holder{s, &s, []Secret{s}}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%T %v"} {
		fmt.Fprintf(&out, verb+"\n", s, h)
		fmt.Fprintf(&out, verb+"\n", h, &s)
	}
	fmt.Fprintln(&out, s, h, &h)
	for _, handler := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(handler).Info("x", "secret", s, "holder", h, "pointer", &s)
	}
	for _, v := range []any{s, h, map[string]Secret{"k": s}} {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(data)
		if data, err = yaml.Marshal(v); err != nil {
			t.Fatal(err)
		}
		out.Write(data)
	}
	hexed := fmt.Sprintf("%x", value)
	if text := out.String(); strings.Contains(text, value) || strings.Contains(text, hexed) || !strings.Contains(text, redacted) {
		t.Errorf("the secret shows in:\n%s", text)
	}
	if s.Reveal() != value || s.IsZero() || !NewSecret("").IsZero() {
		t.Error("Reveal or IsZero is wrong")
	}
}

func TestWholeConfigPrintsWithoutItsSecrets(t *testing.T) {
	cfg := Default()
	cfg.Upstream.Password = NewSecret("hunter2")
	cfg.Auth.Users = []User{{PasswordSHA256: NewSecret("hunter2")}}
	data, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if text := string(data) + fmt.Sprintf("%+v %#v", cfg, *cfg); strings.Contains(text, "hunter2") {
		t.Errorf("the secret shows in:\n%s", text)
	}
}
