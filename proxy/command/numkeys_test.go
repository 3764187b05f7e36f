package command

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

func TestNumKeysErrorsAreTheServersOwn(t *testing.T) {
	server := redisserver.Start(t)
	client := server.Client()
	if _, err := client.Do("FUNCTION", "LOAD", "#!lua name=lib\nredis.register_function('f', function(keys) return #keys end)"); err != nil {
		t.Fatal(err)
	}
	numbers := []string{"0", "1", "2", "3", "-1", "-0", "+1", "01", "00", " 1", "1 ", "", "-", "1x", "x", "0x1", "1.0", "1e0",
		"9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809",
		"18446744073709551615", "18446744073709551616", "99999999999999999999", "-99999999999999999999", "4294967297", "\x001", "1\x00"}
	for _, call := range []struct {
		name, what string
		read       func([]byte, int) (int, error)
	}{
		{"EVAL", "return #KEYS", NumKeys},
		{"FCALL", "f", NumKeysFunction},
	} {
		for _, number := range numbers {
			reply, err := client.Do(call.name, call.what, number, "a", "b")
			if err != nil {
				t.Fatal(err)
			}
			want := fmt.Sprint(reply)
			got := ""
			if n, err := call.read([]byte(number), 5); err != nil {
				got = "ERR " + err.Error()
			} else {
				got = strconv.Itoa(n)
			}
			if got != want {
				t.Errorf("%s with numkeys %q: got %q, the server answers %q", call.name, number, got, want)
			}
		}
	}
}

func TestIntegersAreReadAsStrictlyAsPrinted(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 10_000 {
		n := rng.Int64() >> rng.IntN(64)
		if rng.IntN(2) == 0 {
			n = -n
		}
		text := strconv.FormatInt(n, 10)
		if got, ok := parseInteger([]byte(text)); !ok || got != n {
			t.Fatalf("%s is read as %d, %v", text, got, ok)
		}
	}
}

func TestNumKeysDoesNotAllocate(t *testing.T) {
	good, bad := []byte("2"), []byte("x")
	if n := testing.AllocsPerRun(100, func() { NumKeys(good, 5); NumKeys(bad, 5) }); n != 0 {
		t.Errorf("NumKeys allocates %v times", n)
	}
}
