package differential

// templates has the commands that are generated from a template: weight times, relative to the others. generate.go adds those that change
// the connection. MONITOR, which shows what the proxy itself asks, and SYNC and PSYNC, which make a replica of the
// connection, are used wrongly only.
var templates = []struct {
	weight int
	lines  string
}{
	{6, `
SET <s> <v> [ ( NX | XX ) ] [ GET ] [ ( EX <ttl> | PX <ttlms> | EXAT <when> | PXAT <whenms> | KEEPTTL ) ]
GET <s>
INCR <s>
SET <s> <i>
MGET { <s> }
DEL { <k> }
EXISTS { <k> }
`},
	{2, `
APPEND <s> <v>
DECR <s>
DECRBY <s> <i>
GETDEL <s>
GETEX <s> [ ( EX <ttl> | PX <ttlms> | EXAT <when> | PXAT <whenms> | PERSIST ) ]
GETRANGE <s> <i> <i>
SUBSTR <s> <i> <i>
GETSET <s> <v>
INCRBY <s> <i>
INCRBYFLOAT <s> <f>
LCS <s> <s> [ LEN ] [ IDX ] [ MINMATCHLEN <n> ] [ WITHMATCHLEN ]
MSET { <s> <v> }
MSETNX { <s> <v> }
PSETEX <s> <ttlms> <v>
SETEX <s> <ttl> <v>
SETNX <s> <v>
SETRANGE <s> <n> <v>
STRLEN <s>
`},
	{1, `
BITCOUNT <s> [ <i> <i> [ ( BYTE | BIT ) ] ]
BITFIELD <s> { ( GET <bits> <n> | SET <bits> <n> <i> | INCRBY <bits> <n> <i> | OVERFLOW ( WRAP | SAT | FAIL ) ) }
BITFIELD_RO <s> { GET <bits> <n> }
BITOP ( AND | OR | XOR ) <s> { <s> }
BITOP NOT <s> <s>
BITPOS <s> ( 0 | 1 ) [ <i> [ <i> [ ( BYTE | BIT ) ] ] ]
GETBIT <s> <n>
SETBIT <s> <n> ( 0 | 1 )
PFADD <p> { <m> }
PFCOUNT { <p> }
PFMERGE <p> { <p> }
PFDEBUG ENCODING <p>
DIGEST <s>
DELIFEQ <s> <v>
`},
	{3, `
LPUSH <l> { <v> }
RPUSH <l> { <v> }
LPOP <l> [ <n> ]
RPOP <l> [ <n> ]
LRANGE <l> 0 -1
`},
	{1, `
LINDEX <l> <i>
LINSERT <l> ( BEFORE | AFTER ) <v> <v>
LLEN <l>
LMOVE <l> <l> ( LEFT | RIGHT ) ( LEFT | RIGHT )
LMPOP #{ <l> } ( LEFT | RIGHT ) [ COUNT <n> ]
LPOS <l> <v> [ RANK <i> ] [ COUNT <n> ] [ MAXLEN <n> ]
LPUSHX <l> { <v> }
LRANGE <l> <i> <i>
LREM <l> <i> <v>
LSET <l> <i> <v>
LTRIM <l> <i> <i>
RPOPLPUSH <l> <l>
RPUSHX <l> { <v> }
SORT <l> [ LIMIT <n> <n> ] [ ( ASC | DESC ) ] [ ALPHA ] [ STORE <l> ]
SORT <l> BY s* [ LIMIT <n> <n> ] GET # [ GET s* ]
SORT_RO <l> [ LIMIT <n> <n> ] [ ( ASC | DESC ) ] [ ALPHA ]
SORT ( <e> | <z> ) ALPHA
SORT_RO <z> [ ALPHA ]
`},
	{2, `
HSET <h> { <fd> <v> }
HGET <h> <fd>
HGETALL <h>
HDEL <h> { <fd> }
`},
	{1, `
HEXISTS <h> <fd>
HINCRBY <h> <fd> <i>
HINCRBYFLOAT <h> <fd> <f>
HKEYS <h>
HLEN <h>
HMGET <h> { <fd> }
HMSET <h> { <fd> <v> }
HRANDFIELD <h> [ <i> [ WITHVALUES ] ]
HSCAN <h> 0 [ MATCH <pat> ] COUNT 100000
HSETNX <h> <fd> <v>
HSTRLEN <h> <fd>
HVALS <h>
HEXPIRE <h> <ttl> FIELDS 1 <fd>
HEXPIREAT <h> <when> FIELDS 1 <fd>
HEXPIRETIME <h> FIELDS 1 <fd>
HGETDEL <h> FIELDS 1 <fd>
HGETEX <h> PERSIST FIELDS 1 <fd>
HPERSIST <h> FIELDS 1 <fd>
HPEXPIRE <h> <ttlms> FIELDS 1 <fd>
HPEXPIREAT <h> <whenms> FIELDS 1 <fd>
HPEXPIRETIME <h> FIELDS 1 <fd>
HPTTL <h> FIELDS 1 <fd>
HSETEX <h> FIELDS 1 <fd> <v>
HTTL <h> FIELDS 1 <fd>
`},
	{2, `
SADD <e> { <m> }
SREM <e> { <m> }
SMEMBERS <e>
SISMEMBER <e> <m>
`},
	{1, `
SCARD <e>
SDIFF { <e> }
SDIFFSTORE <e> { <e> }
SINTER { <e> }
SINTERCARD #{ <e> } [ LIMIT <n> ]
SINTERSTORE <e> { <e> }
SMISMEMBER <e> { <m> }
SMOVE <e> <e> <m>
SPOP <e> 100000
SRANDMEMBER <e> [ <i> ]
SSCAN <e> 0 [ MATCH <pat> ] COUNT 100000
SUNION { <e> }
SUNIONSTORE <e> { <e> }
`},
	{2, `
ZADD <z> [ ( NX | XX | GT | LT ) ] [ CH ] { <f> <m> }
ZRANGE <z> 0 -1 [ WITHSCORES ]
ZREM <z> { <m> }
ZSCORE <z> <m>
`},
	{1, `
ZADD <z> [ XX ] INCR <f> <m>
ZCARD <z>
ZCOUNT <z> <score> <score>
ZDIFF #{ <z> } [ WITHSCORES ]
ZDIFFSTORE <z> #{ <z> }
ZINCRBY <z> <i> <m>
ZINTER #{ <z> } [ AGGREGATE ( SUM | MIN | MAX ) ] [ WITHSCORES ]
ZINTERCARD #{ <z> } [ LIMIT <n> ]
ZINTERSTORE <z> #{ <z> } [ AGGREGATE ( SUM | MIN | MAX ) ]
ZINTERSTORE <z> 2 <z> <z> WEIGHTS <i> <i>
ZLEXCOUNT <y> <lex> <lex>
ZMPOP #{ <z> } ( MIN | MAX ) [ COUNT <n> ]
ZMSCORE <z> { <m> }
ZPOPMAX <z> [ <n> ]
ZPOPMIN <z> [ <n> ]
ZRANDMEMBER <z> [ <i> [ WITHSCORES ] ]
ZRANGE <z> <i> <i> [ REV ] [ WITHSCORES ]
ZRANGE <z> <score> <score> BYSCORE [ REV ] [ LIMIT <n> <n> ] [ WITHSCORES ]
ZADD <y> { 0 <m> }
ZLEXCOUNT l1 <lex> <lex>
ZRANGE <y> <lex> <lex> BYLEX [ REV ] [ LIMIT <n> <n> ]
ZRANGEBYLEX <y> <lex> <lex> [ LIMIT <n> <n> ]
ZRANGEBYSCORE <z> <score> <score> [ WITHSCORES ] [ LIMIT <n> <n> ]
ZRANGESTORE <z> <z> <i> <i> [ REV ]
ZRANK <z> <m>
ZREMRANGEBYLEX <y> <lex> <lex>
ZREMRANGEBYRANK <z> <i> <i>
ZREMRANGEBYSCORE <z> <score> <score>
ZREVRANGE <z> <i> <i> [ WITHSCORES ]
ZREVRANGEBYLEX <y> <lex> <lex> [ LIMIT <n> <n> ]
ZREVRANGEBYSCORE <z> <score> <score> [ WITHSCORES ] [ LIMIT <n> <n> ]
ZREVRANK <z> <m>
ZSCAN <z> 0 [ MATCH <pat> ] COUNT 100000
ZUNION #{ <z> } [ AGGREGATE ( SUM | MIN | MAX ) ] [ WITHSCORES ]
ZUNIONSTORE <z> #{ <z> } [ AGGREGATE ( SUM | MIN | MAX ) ]
ZUNIONSTORE <z> 2 <z> <e> WEIGHTS <i> <i>
GEOADD <g> [ ( NX | XX ) ] [ CH ] { <lon> <lat> <m> }
GEODIST <g> <m> <m> [ <unit> ]
GEOHASH <g> { <m> }
GEOPOS <g> { <m> }
GEORADIUS <g> <lon> <lat> <n> <unit> [ WITHCOORD ] [ WITHDIST ] [ WITHHASH ] [ COUNT <n> ] [ ( ASC | DESC ) ]
GEORADIUS <g> <lon> <lat> 9000 km ( STORE | STOREDIST ) <z>
GEORADIUSBYMEMBER <g> <m> 9000 <unit> [ WITHDIST ] [ ASC ]
GEORADIUSBYMEMBER_RO <g> <m> 9000 <unit> [ WITHDIST ] [ ASC ]
GEORADIUS_RO <g> <lon> <lat> 9000 <unit> [ WITHCOORD ] [ WITHDIST ] [ ASC ]
GEOSEARCH <g> FROMMEMBER <m> BYRADIUS 9000 <unit> [ ASC ] [ COUNT <n> [ ANY ] ] [ WITHDIST ]
GEOSEARCH <g> FROMLONLAT <lon> <lat> BYBOX 9000 9000 <unit> [ DESC ] [ WITHCOORD ] [ WITHHASH ]
GEOSEARCHSTORE <g> <g> FROMLONLAT <lon> <lat> BYRADIUS 9000 <unit> [ STOREDIST ]
`},
	{2, `
XADD <x> [ NOMKSTREAM ] [ MAXLEN [ ( = | ~ ) ] <n> ] <id> { <fd> <v> }
XRANGE <x> - + [ COUNT <n> ]
XREADGROUP GROUP <grp> <c> [ COUNT <n> ] [ NOACK ] STREAMS <x> >
XREAD [ COUNT <n> ] STREAMS <x> <x> 0 <id>
`},
	{1, `
XACK <x> <grp> { <id> }
XAUTOCLAIM <x> <grp> <c> 0 <id> [ COUNT <n> ] [ JUSTID ]
XCLAIM <x> <grp> <c> 0 { <id> } [ FORCE ] [ JUSTID ]
XDEL <x> { <id> }
XGROUP CREATE <x> <grp> ( 0 | $ | <id> ) [ MKSTREAM ]
XGROUP CREATE <x> <grp> 0 MKSTREAM
XGROUP CREATECONSUMER <x> <grp> <c>
XGROUP DELCONSUMER <x> <grp> <c>
XGROUP DESTROY <x> <grp>
XGROUP SETID <x> <grp> ( 0 | <id> )
XGROUP HELP
XINFO STREAM <x>
XINFO GROUPS <x>
XINFO CONSUMERS <x> <grp>
XINFO HELP
XLEN <x>
XPENDING <x> <grp> [ - + <n> [ <c> ] ]
XREADGROUP GROUP <grp> <c> STREAMS <x> 0
XREVRANGE <x> + - [ COUNT <n> ]
XSETID <x> <id>
XTRIM <x> ( MAXLEN <n> | MINID <id> )
XACKDEL <x> <grp> IDS 1 <id>
XDELEX <x> IDS 1 <id>
`},
	{1, `
COPY <k> <k> [ DB <db> ] [ REPLACE ]
DUMP <k>
EXPIRE <k> <ttl> [ ( NX | XX | GT | LT ) ]
EXPIREAT <k> ( <when> | 1 ) [ ( NX | XX | GT | LT ) ]
EXPIRETIME <k>
KEYS <pat>
MOVE <k> <db>
OBJECT ENCODING <k>
OBJECT FREQ <k>
OBJECT HELP
OBJECT IDLETIME <k>
OBJECT REFCOUNT <k>
PERSIST <k>
PEXPIRE <k> <ttlms>
PEXPIREAT <k> <whenms>
PEXPIRETIME <k>
PTTL <k>
RANDOMKEY
RENAME <k> <k>
RENAMENX <k> <k>
RESTORE <k> 0 <dump> [ REPLACE ]
RESTORE <k> <whenms> <dump> REPLACE ABSTTL
RESTORE-ASKING <k> 0 <dump> REPLACE
SCAN 0 [ MATCH <pat> ] COUNT 100000 [ TYPE ( string | list | hash ) ]
TOUCH { <k> }
TTL <k>
TYPE <k>
UNLINK { <k> }
DBSIZE
MEMORY USAGE <k> [ SAMPLES <n> ]
MEMORY HELP
MSETEX 1 <s> <v> EX <ttl>
DELEX <s>
VADD v1 VALUES 2 <f> <f> <m>
VCARD v1
VDIM v1
VEMB v1 <m>
VGETATTR v1 <m>
VINFO v1
VISMEMBER v1 <m>
VLINKS v1 <m>
VRANDMEMBER v1
VREM v1 <m>
VSETATTR v1 <m> {"a":1}
VSIM v1 ELE <m>
`},
	{2, `
PING
PING <v>
ECHO <v>
PUBLISH <ch> <v>
SPUBLISH <ch> <v>
CLIENT ID
CLIENT GETNAME
CLIENT SETNAME <name>
`},
	{1, `
PUBSUB CHANNELS [ <pat> ]
PUBSUB NUMSUB [ <ch> <ch> ]
PUBSUB NUMPAT
PUBSUB SHARDCHANNELS [ <pat> ]
PUBSUB SHARDNUMSUB [ <ch> ]
PUBSUB HELP
CLIENT GETREDIR
CLIENT TRACKINGINFO
CLIENT LIST [ TYPE ( normal | pubsub | <junk> ) ]
CLIENT INFO
CLIENT KILL ( ID 999999999 | ADDR 1.2.3.4:5 | USER nobody | TYPE replica | SKIPME maybe | MAXAGE <junk> | <junk> 1 )
CLIENT KILL ( 1.2.3.4:5 | <junk> )
CLIENT UNBLOCK ( 999999999 | <junk> ) [ ( TIMEOUT | ERROR | <junk> ) ]
CLIENT NO-EVICT ( ON | OFF | <junk> )
CLIENT NO-TOUCH ( ON | OFF )
CLIENT PAUSE <junk>
CLIENT UNPAUSE
CLIENT REPLY <junk>
CLIENT TRACKING <junk>
CLIENT CACHING <junk>
CLIENT HELP
CLIENT SETINFO ( lib-name | LIB-VER | <junk> ) <name>
CLIENT SETNAME <empty>
CLIENT CAPA redirect
CLIENT <junk>
CLIENT
COMMAND COUNT
COMMAND INFO { <cmd> }
COMMAND DOCS <cmd>
COMMAND GETKEYS <cmd> { <s> }
COMMAND GETKEYSANDFLAGS <cmd> { <s> }
COMMAND LIST FILTERBY ACLCAT <cat>
COMMAND HELP
CONFIG GET ( slowlog* | maxmemory-samples | lua-time-limit | <junk> )
CONFIG SET maxmemory-samples ( 5 | 7 )
CONFIG SET <junk> <v>
CONFIG HELP
ACL WHOAMI
ACL CAT [ <cat> ]
ACL USERS
ACL GETUSER <user>
ACL LIST
ACL GENPASS [ 64 ]
ACL DRYRUN <user> GET <s>
ACL HELP
ACL LOG RESET
SLOWLOG LEN
SLOWLOG GET
SLOWLOG RESET
SLOWLOG HELP
LATENCY LATEST
LATENCY HISTORY command
LATENCY RESET
LATENCY HELP
MODULE LIST
MODULE HELP
CLUSTER INFO
CLUSTER KEYSLOT <k>
CLUSTER HELP
LOLWUT VERSION <n>
TIME
LASTSAVE
ROLE
INFO ( server | clients | <junk> )
WAIT 0 <n>
WAITAOF 0 0 <n>
FAILOVER ABORT
REPLICAOF NO ONE
SLAVEOF NO ONE
SHUTDOWN <junk>
SWAPDB <db> <db>
STRALGO LCS KEYS <s> <s>
COMMANDLOG LEN slow
BGSAVE <junk>
MIGRATE <junk>
MONITOR <junk>
BGREWRITEAOF <junk>
SAVE <junk>
PFSELFTEST <junk>
SYNC <junk>
PSYNC <junk>
DEBUG <junk>
ASKING
READONLY
READWRITE
DEBUG PROTOCOL ( string | integer | double | null | array | set | map | attrib | push | verbatim | true | false | bignum )
HELLO <junk>
REPLCONF listening-port <junk>
FLUSHDB [ ( SYNC | ASYNC | <junk> ) ]
FLUSHALL [ ( SYNC | ASYNC ) ]
`},
	{2, `
SCRIPT LOAD <script>
SCRIPT EXISTS { <sha> }
`},
	{1, `
SCRIPT FLUSH [ ( SYNC | ASYNC | <junk> ) ]
SCRIPT KILL
SCRIPT HELP
SCRIPT SHOW <sha>
SCRIPT <junk>
SCRIPT
FUNCTION LOAD [ REPLACE ] <lib>
FUNCTION LOAD REPLACE <lib>
FUNCTION LIST [ LIBRARYNAME <pat> ] [ WITHCODE ]
FUNCTION STATS
FUNCTION DELETE <libname>
FUNCTION FLUSH [ ( SYNC | ASYNC | <junk> ) ]
FUNCTION KILL
FUNCTION DUMP
FUNCTION RESTORE <fdump> [ ( FLUSH | APPEND | REPLACE ) ]
FUNCTION HELP
FUNCTION <junk>
`},
	{4, `
EVAL <script> 1 <k> <v>
EVAL <script> 1 <s> <v>
EVALSHA <sha> 1 <s> <v>
`},
	{1, `
EVAL <script> 0
EVAL <script> <i> { <k> }
EVAL <script> <junk>
EVAL_RO <script> 1 <s> <v>
EVALSHA <sha> 0
EVALSHA <sha> <i> { <k> }
EVALSHA_RO <sha> 1 <s> <v>
FCALL <func> 1 <s> <v>
FCALL <func> 0
FCALL <func> <i> { <k> }
FCALL_RO <func> 1 <s> <v>
`},
}

// blocking commands come rarely, and in the way that blockStep says.
var blockingTemplates = []string{
	"BLPOP { <l> } 0", "BRPOP { <l> } 0", "BLMOVE <l> <l> LEFT RIGHT 0", "BRPOPLPUSH <l> <l> 0", "BLMPOP 0 #{ <l> } LEFT [ COUNT <n> ]",
	"BZPOPMIN { <z> } 0", "BZPOPMAX { <z> } 0", "BZMPOP 0 #{ <z> } MAX", "XREAD BLOCK 0 STREAMS <x> $", "XREAD COUNT 2 BLOCK 0 STREAMS <x> <id>",
	"XREADGROUP GROUP <grp> <c> BLOCK 0 STREAMS <x> >",
}

// blockingOnOne wait for one key.
var blockingOnOne = []string{
	"BLPOP <l> 0", "BRPOP <l> 0", "BLMOVE <l> <l> LEFT RIGHT 0", "BRPOPLPUSH <l> <l> 0", "BLMPOP 0 1 <l> RIGHT COUNT 2", "BZPOPMIN <z> 0",
	"BZMPOP 0 1 <z> MIN", "XREAD BLOCK 0 STREAMS <x> $", "XREADGROUP GROUP <grp> <c> BLOCK 0 STREAMS <x> >",
}

// wakingTemplates are what blocked clients wait for.
var wakingTemplates = []string{
	"RPUSH <l> { <v> }", "LPUSH <l> <v>", "ZADD <z> { <f> <m> }", "XADD <x> <id> <fd> <v>", "LMOVE <l> <l> LEFT LEFT", "SORT <l> ALPHA STORE <l>",
	"XGROUP DESTROY <x> <grp>", "SET <l> <v>", "RENAME <l> <l>", "EVAL redis.call('rpush',KEYS[1],'woken') 1 <l>",
	"COPY <l> <l> REPLACE", "RESTORE <l> 0 <dump> REPLACE", "MOVE <l> <db>",
}
