package lua

import "testing"

func TestBodiesThatDifferInLiteralsHaveOneShape(t *testing.T) {
	want := "return redis.call('GET', ?) + ?"
	for _, body := range []string{
		"return redis.call('GET', 'user:1') + 1",
		"return   redis.call('GET',\n\"user:2\") + 0x10 -- comment",
		"return redis.call('GET', [[user:3]]) + 1e9",
	} {
		if got, n := Shape([]byte(body)); got != want || n != 2 {
			t.Errorf("%q has the shape %q with %d literals", body, got, n)
		}
	}
}

func TestTheCommandBelongsToTheShape(t *testing.T) {
	get, _ := Shape([]byte("return redis.call('GET','a')"))
	del, _ := Shape([]byte("return redis.pcall('DEL','a')"))
	if get == del || get != "return redis.call('GET',?)" {
		t.Errorf("%q, %q", get, del)
	}
}

func TestWhatIsNoLuaHasNoShape(t *testing.T) {
	for _, body := range []string{"return 'a", "--[[ open"} {
		if got, n := Shape([]byte(body)); got != "" || n != 0 {
			t.Errorf("%q has the shape %q", body, got)
		}
	}
	if got, n := Shape([]byte("return KEYS[1]")); n != 1 {
		t.Errorf("%q, %d", got, n)
	}
}
