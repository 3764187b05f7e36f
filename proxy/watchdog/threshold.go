package watchdog

import (
	"context"
	"strconv"
	"strings"
	"time"
)

// minThreshold is the least that busy-reply-threshold is set to: below it,
// scripts which are merely slow would make the server refuse everybody.
const minThreshold = 10 * time.Millisecond

// thresholdNames are the names of the setting from Redis 7.0 and before.
var thresholdNames = []string{"busy-reply-threshold", "lua-time-limit"}

// checkThreshold compares the time after which a node heeds a kill with the
// smallest deadline, once for every connection and change of settings. It
// reports false when the connection is of no more use.
func (k *killer) checkThreshold(ctx context.Context) bool {
	set := k.dog.settings.Load()
	if k.checked && k.applied == set.serial || set.Smallest == 0 {
		return true
	}
	log := k.dog.opts.Logger.With("node", k.node.Addr)
	name, value, answer, err := k.threshold(ctx)
	switch {
	case ctx.Err() != nil:
		return true
	case err != nil:
		return false
	case strings.HasPrefix(answer, "-BUSY ") || strings.HasPrefix(answer, "-LOADING "):
		return true // asked again when it is not
	case name == "":
		log.Warn("the time after which the node heeds a kill could not be read; see to it that busy-reply-threshold is below the deadlines", "answer", answer)
		k.checked, k.applied = true, set.serial
		return true
	}
	k.checked, k.applied = true, set.serial
	current := time.Duration(value) * time.Millisecond
	if current > 0 && current <= max(set.Smallest, minThreshold) {
		return true
	}
	want := max(set.Smallest, minThreshold).Truncate(time.Millisecond)
	if !set.ManageThreshold {
		if current == 0 {
			log.Warn("the node never heeds a kill: its "+name+" is 0; set it below the smallest deadline, or switch watchdog.manage_busy_threshold on", "smallest deadline", set.Smallest)
		} else {
			log.Warn("the node heeds a kill later than the smallest deadline: lower its "+name+", or switch watchdog.manage_busy_threshold on", "threshold", current, "smallest deadline", set.Smallest)
		}
		return true
	}
	reply, err := k.conn.ask(ctx, k.quiet, "CONFIG", "SET", name, strconv.FormatInt(want.Milliseconds(), 10))
	switch {
	case err != nil:
		k.checked = false
		return err == errGaveUp || ctx.Err() != nil
	case strings.HasPrefix(reply[0], "+OK"):
		log.Info("set "+name, "from", current, "to", want)
	case strings.HasPrefix(reply[0], "-BUSY "):
		k.checked = false
	default:
		log.Warn("the node's "+name+" is above the smallest deadline and could not be set", "threshold", current, "smallest deadline", set.Smallest, "answer", reply[0])
	}
	return true
}

// threshold reads the setting: its name there and its milliseconds, or what
// the node answered instead.
func (k *killer) threshold(ctx context.Context) (name string, ms int64, answer string, err error) {
	for _, name := range thresholdNames {
		reply, err := k.conn.ask(ctx, k.quiet, "CONFIG", "GET", name)
		if err == errGaveUp {
			return "", 0, "-BUSY ", nil
		}
		if err != nil {
			return "", 0, "", err
		}
		if len(reply) == 2 {
			ms, err := strconv.ParseInt(reply[1], 10, 64)
			return name, ms, "", err
		}
		answer = "no " + name
		if len(reply) == 1 && reply[0][0] == '-' {
			return "", 0, reply[0], nil
		}
	}
	return "", 0, answer, nil
}

// quiet reports that there is nothing more urgent.
func (k *killer) quiet() bool { return len(k.reports) == 0 }
