// Package redisserver starts real redis-server processes, each on 127.0.0.1 with a free port, a directory of
// its own and no persistence unless asked for, and makes sure that none survives the program that started it.
//
// Tests use Start, StartPair and StartSentinel, which fail the test with what is wrong and what to install:
//
//	primary, replica := redisserver.StartPair(t)
//	primary.Do("SET", "a", 1)
//	redisserver.WaitReplica(t, primary, replica)
//	primary.Kill()
//
// Programs that are not tests, such as the benchmark, use StartProcess, which returns errors instead.
//
// The environment variable SCRIPTPROXY_TEST_REDIS names another server to run everything against: a command line,
// split at blanks, to which the path of a configuration file is appended, for example
// "/opt/redis-7.4/bin/redis-server" or "taskset -c 0 valkey-server". A launcher must replace itself with the
// server (exec) or keep it in its own process group, because signals are sent to the group.
package redisserver
