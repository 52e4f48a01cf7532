@0xe7d4b2906f1c85a3;
# The wire format of the monitor feed: one MonitorReport is the only frame of a ZeroMQ message, published about every second
# while somebody has subscribed.

struct MonitorReport {
  product         @0  :Text;
  protocolVersion @1  :UInt32;

  cpu             @2  :Float64;   # of the scheduler: percent of one core, since the last report
  rss             @3  :UInt64;    # of the scheduler: bytes
  freeMemory      @4  :UInt64;    # of the scheduler's machine: bytes
  dropped         @5  :UInt64;    # malformed messages, and events that could not be handled, since the start
  ready           @6  :UInt64;    # tasks that wait in the scheduler now

  functions       @7  :UInt64;    # that the scheduler keeps now
  functionBytes   @8  :UInt64;
  objects         @9  :UInt64;    # in the object storage now
  objectBytes     @10 :UInt64;

  tasks           @11 :List(Count);   # how often a task came into each state, since the start
  sent            @12 :List(Count);   # messages of each kind, since the start
  received        @13 :List(Count);
  clients         @14 :List(Count);   # unfinished tasks of each client
  workers         @15 :List(WorkerFigures);
}

struct Count {
  name  @0 :Text;
  count @1 :UInt64;
}

struct WorkerFigures {
  workerId      @0  :Text;
  groupId       @1  :Text;        # empty without one
  hostCpu       @2  :Float64;     # of its worker host: percent of one core
  hostRss       @3  :UInt64;
  cpu           @4  :Float64;     # sum over its processes
  rss           @5  :UInt64;
  freeMemory    @6  :UInt64;      # of its machine
  places        @7  :UInt32;      # left in its queue
  outstanding   @8  :UInt32;      # tasks it was given and has not answered
  queued        @9  :UInt32;      # of these, neither running nor suspended
  suspended     @10 :UInt32;      # of these, waiting for tasks of their own
  lagSeconds    @11 :Float64;     # half a heartbeat's round trip
  silentSeconds @12 :Float64;     # since its host was heard last
  initialised   @13 :Bool;        # its process may be given tasks
  hasTask       @14 :Bool;        # a task has begun and not ended in it
  taskLock      @15 :Bool;        # that task does not wait for tasks of its own
}
