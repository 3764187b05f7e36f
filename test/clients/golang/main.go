// Command golang uses the proxy as Go programs do, with the client library
// named by its first argument, at the port that the second gives. It ends with
// "ok" and the number of checks that passed. It is a module of its own, so that
// these libraries are not the proxy's dependencies.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"sync"
	"time"

	"github.com/gomodule/redigo/redis"
	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"
)

const addTo = "return redis.call('INCRBY', KEYS[1], ARGV[1])"

var (
	mu     sync.Mutex
	checks int
)

func check(got, want any) {
	mu.Lock()
	defer mu.Unlock()
	if !reflect.DeepEqual(got, want) {
		panic(fmt.Sprintf("got %#v, want %#v", got, want))
	}
	checks++
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func value[T any](v T, err error) T {
	must(err)
	return v
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: golang go-redis|rueidis|redigo PORT")
		os.Exit(2)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	addr := "127.0.0.1:" + os.Args[2]
	switch os.Args[1] {
	case "go-redis":
		useGoRedis(ctx, addr, 2)
		useGoRedis(ctx, addr, 3)
	case "rueidis":
		useRueidis(ctx, addr)
	case "redigo":
		useRedigo(addr)
	}
	fmt.Println("ok", checks)
}

func useGoRedis(ctx context.Context, addr string, protocol int) {
	c := goredis.NewClient(&goredis.Options{Addr: addr, Protocol: protocol, PoolSize: 20})
	defer c.Close()
	p := fmt.Sprintf("gr%d:", protocol)
	check(value(c.Set(ctx, p+"a", "x", 0).Result()), "OK")
	check(value(c.Get(ctx, p+"a").Result()), "x")
	_, err := c.Get(ctx, p+"missing").Result()
	check(errors.Is(err, goredis.Nil), true)
	check(value(c.HSet(ctx, p+"h", "f", "v").Result()), int64(1))
	check(value(c.HGetAll(ctx, p+"h").Result()), map[string]string{"f": "v"})

	s := goredis.NewScript(addTo)
	check(value(s.Run(ctx, c, []string{p + "n"}, 5).Int()), 5)
	must(c.ScriptFlush(ctx).Err())
	check(value(s.Run(ctx, c, []string{p + "n"}, 5).Int()), 10)
	must(s.Load(ctx, c).Err())
	check(value(s.Exists(ctx, c).Result()), []bool{true})
	var wg sync.WaitGroup
	for range 20 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for range 50 {
				must(s.EvalSha(ctx, c, []string{p + "n"}, 1).Err())
			}
		}()
	}
	wg.Wait()
	check(value(c.Get(ctx, p+"n").Int()), 1010)

	cmds, err := c.Pipelined(ctx, func(pipe goredis.Pipeliner) error {
		pipe.Set(ctx, p+"b", 1, 0)
		s.EvalSha(ctx, pipe, []string{p + "n"}, 1)
		pipe.Get(ctx, p+"n")
		return nil
	})
	must(err)
	check(cmds[2].(*goredis.StringCmd).Val(), "1011")
	cmds, err = c.TxPipelined(ctx, func(pipe goredis.Pipeliner) error {
		pipe.Incr(ctx, p+"m")
		s.EvalSha(ctx, pipe, []string{p + "n"}, 1)
		return nil
	})
	must(err)
	check(cmds[0].(*goredis.IntCmd).Val(), int64(1))
	err = c.Watch(ctx, func(tx *goredis.Tx) error {
		must(c.Set(ctx, p+"w", "other", 0).Err())
		_, err := tx.TxPipelined(ctx, func(pipe goredis.Pipeliner) error {
			pipe.Set(ctx, p+"w", "mine", 0)
			return nil
		})
		return err
	}, p+"w")
	check(errors.Is(err, goredis.TxFailedErr), true)

	sub := c.Subscribe(ctx, p+"ch")
	_, err = sub.Receive(ctx)
	must(err)
	check(value(c.Publish(ctx, p+"ch", "hi").Result()), int64(1))
	check(value(sub.ReceiveMessage(ctx)).Payload, "hi")
	must(sub.Close())

	popped := make(chan []string, 1)
	go func() { popped <- value(c.BLPop(ctx, 5*time.Second, p+"q").Result()) }()
	time.Sleep(20 * time.Millisecond)
	must(c.RPush(ctx, p+"q", "job").Err())
	check(<-popped, []string{p + "q", "job"})
	id := value(c.XAdd(ctx, &goredis.XAddArgs{Stream: p + "s", Values: []string{"k", "v"}}).Result())
	read := value(c.XRead(ctx, &goredis.XReadArgs{Streams: []string{p + "s", "0"}, Block: time.Second}).Result())
	check(read[0].Messages[0].ID, id)
}

func useRueidis(ctx context.Context, addr string) {
	c := value(rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{addr}, ForceSingleClient: true}))
	defer c.Close()
	must(c.Do(ctx, c.B().Set().Key("ru:a").Value("1").Build()).Error())
	// Client-side caching: the second read is local, until somebody writes.
	get := func() (string, bool) {
		r := c.DoCache(ctx, c.B().Get().Key("ru:a").Cache(), time.Minute)
		return value(r.ToString()), r.IsCacheHit()
	}
	v, hit := get()
	check([]any{v, hit}, []any{"1", false})
	v, hit = get()
	check([]any{v, hit}, []any{"1", true})
	other := value(rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{addr}, ForceSingleClient: true, DisableCache: true}))
	defer other.Close()
	must(other.Do(ctx, other.B().Set().Key("ru:a").Value("2").Build()).Error())
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if v, _ = get(); v == "2" || time.Now().After(deadline) {
			break
		}
	}
	check(v, "2")

	s := rueidis.NewLuaScript(addTo)
	check(value(s.Exec(ctx, c, []string{"ru:n"}, []string{"5"}).AsInt64()), int64(5))
	var wg sync.WaitGroup // pipelined automatically on one connection
	for range 50 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for range 40 {
				value(s.Exec(ctx, c, []string{"ru:n"}, []string{"1"}).AsInt64())
			}
		}()
	}
	wg.Wait()
	check(value(c.Do(ctx, c.B().Get().Key("ru:n").Build()).AsInt64()), int64(2005))
	execs := make([]rueidis.LuaExec, 100)
	for i := range execs {
		execs[i] = rueidis.LuaExec{Keys: []string{"ru:n"}, Args: []string{"1"}}
	}
	for i, r := range s.ExecMulti(ctx, c, execs...) {
		check(value(r.AsInt64()), int64(2006+i))
	}
	must(c.Dedicated(func(d rueidis.DedicatedClient) error {
		must(d.Do(ctx, d.B().Watch().Key("ru:w").Build()).Error())
		rs := d.DoMulti(ctx, d.B().Multi().Build(), d.B().Incr().Key("ru:w").Build(), d.B().Exec().Build())
		check(len(value(rs[2].ToArray())), 1)
		return nil
	}))
	heard := make(chan string, 1)
	subCtx, stop := context.WithCancel(ctx)
	go c.Receive(subCtx, c.B().Subscribe().Channel("ru:ch").Build(), func(m rueidis.PubSubMessage) { heard <- m.Message })
	for value(other.Do(ctx, other.B().Publish().Channel("ru:ch").Message("hi").Build()).AsInt64()) == 0 {
		time.Sleep(5 * time.Millisecond)
	}
	check(<-heard, "hi")
	stop()
}

func useRedigo(addr string) {
	pool := &redis.Pool{MaxIdle: 5, Dial: func() (redis.Conn, error) { return redis.Dial("tcp", addr, redis.DialReadTimeout(10*time.Second)) }}
	defer pool.Close()
	c := pool.Get()
	defer c.Close()
	check(value(redis.String(c.Do("SET", "rg:a", "x"))), "OK")
	s := redis.NewScript(1, addTo)
	check(value(redis.Int(s.Do(c, "rg:n", 5))), 5)
	value(c.Do("SCRIPT", "FLUSH"))
	check(value(redis.Int(s.Do(c, "rg:n", 5))), 10)
	must(c.Send("SET", "rg:b", "1"))
	must(s.SendHash(c, "rg:n", 1))
	must(c.Send("GET", "rg:b"))
	must(c.Flush())
	check(value(redis.String(c.Receive())), "OK")
	check(value(redis.Int(c.Receive())), 11)
	check(value(redis.String(c.Receive())), "1")
	must(c.Send("MULTI"))
	must(c.Send("INCR", "rg:m"))
	must(s.SendHash(c, "rg:n", 1))
	check(value(redis.Ints(c.Do("EXEC"))), []int{1, 12})
	_, err := c.Do("LPUSH", "rg:a", "x")
	check(err != nil, true)
	sub := redis.PubSubConn{Conn: pool.Get()}
	defer sub.Close()
	must(sub.Subscribe("rg:ch"))
	check(sub.Receive().(redis.Subscription).Count, 1)
	check(value(redis.Int(c.Do("PUBLISH", "rg:ch", "hi"))), 1)
	check(string(sub.Receive().(redis.Message).Data), "hi")
	must(sub.Unsubscribe("rg:ch"))
	check(sub.Receive().(redis.Subscription).Count, 0)
}
