import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.PrintStream;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.LinkedBlockingQueue;

/**
 * One JVM that runs many command line programs, each as its own job with its own standard streams, so that a tool costs
 * milliseconds instead of a JVM start. A job is a thread group: whatever thread a tool starts inherits it, and the streams
 * are chosen by it. Exit and shutdown hooks of Kafka's tools go through their Exit class, which is set to ask here.
 *
 * Lines in:  loader NAME CLASSPATH | run ID LOADER MAIN ARG... | in ID BYTES | eof ID | stop ID
 * Lines out: ready | out ID BYTES | err ID BYTES | exit ID STATUS      (arguments, paths and bytes in base64)
 */
public final class ToolServer {
    static final PrintStream WIRE = System.out;
    static final Map<String, URLClassLoader> LOADERS = new ConcurrentHashMap<>();
    static final Map<String, Job> JOBS = new ConcurrentHashMap<>();
    static final Map<ThreadGroup, Job> GROUPS = new ConcurrentHashMap<>();

    static final class ExitError extends Error {
        final int status;

        ExitError(int status) {
            super("exit " + status, null, false, false);
            this.status = status;
        }
    }

    static final class Job {
        final String id;
        final LinkedBlockingQueue<byte[]> input = new LinkedBlockingQueue<>();
        final List<Runnable> hooks = new ArrayList<>();
        final ThreadGroup group;
        volatile Integer status;
        volatile boolean exited; // what main still prints after that, a real exit would have cut off
        Thread main;

        Job(String id) {
            this.id = id;
            this.group = new ThreadGroup("job-" + id);
        }

        synchronized void exit(int code) {
            if (status == null) status = code;
        }

        void runHooks() {
            List<Runnable> pending;
            synchronized (hooks) {
                pending = new ArrayList<>(hooks);
                hooks.clear();
            }
            for (Thread hook : runtimeHooks(group)) {
                Runtime.getRuntime().removeShutdownHook(hook);
                pending.add(hook);
            }
            for (Runnable hook : pending) {
                Thread thread = new Thread(group, () -> {
                    try {
                        hook.run();
                    } catch (Throwable ignored) {
                        // A JVM that shuts down ignores it as well.
                    }
                });
                thread.setDaemon(true);
                thread.start();
                try {
                    thread.join(10_000);
                } catch (InterruptedException e) {
                    return;
                }
            }
        }
    }

    /** The hooks that a job gave to the runtime itself: threads not started yet, made in the job's group. */
    static List<Thread> runtimeHooks(ThreadGroup group) {
        List<Thread> found = new ArrayList<>();
        try {
            Class<?> holder = Class.forName("java.lang.ApplicationShutdownHooks");
            synchronized (holder) {
                java.lang.reflect.Field hooks = holder.getDeclaredField("hooks");
                hooks.setAccessible(true);
                for (Object hook : ((Map<?, ?>) hooks.get(null)).keySet()) {
                    if (((Thread) hook).getThreadGroup() == group) found.add((Thread) hook);
                }
            }
        } catch (ReflectiveOperationException e) {
            throw new IllegalStateException(e);
        }
        return found;
    }

    /** A JVM lives as long as a thread that is no daemon does. */
    static void awaitThreads(Job job) throws InterruptedException {
        Thread[] threads = new Thread[64];
        int count = job.group.enumerate(threads);
        for (int i = 0; i < count; i++) {
            Thread thread = threads[i];
            if (thread != job.main && !thread.isDaemon() && !job.exited) thread.join();
        }
    }

    static Job currentJob() {
        for (ThreadGroup group = Thread.currentThread().getThreadGroup(); group != null; group = group.getParent()) {
            Job job = GROUPS.get(group);
            if (job != null) return job;
        }
        return null;
    }

    static void tell(String line) {
        synchronized (WIRE) {
            WIRE.print(line + "\n");
            WIRE.flush();
        }
    }

    /** Collects what a job prints and sends it on at each flush; jobs never mix, as each thread writes for its own. */
    static final class Routed extends OutputStream {
        final String stream;

        Routed(String stream) {
            this.stream = stream;
        }

        @Override
        public void write(int b) {
            write(new byte[] {(byte) b}, 0, 1);
        }

        @Override
        public void write(byte[] bytes, int offset, int length) {
            Job job = currentJob();
            if (job == null || length == 0 || job.exited && Thread.currentThread() == job.main) return;
            byte[] part = Arrays.copyOfRange(bytes, offset, offset + length);
            tell(stream + " " + job.id + " " + Base64.getEncoder().encodeToString(part));
        }
    }

    static final class RoutedInput extends InputStream {
        private final Map<Job, byte[]> rest = new ConcurrentHashMap<>();

        @Override
        public int read() throws IOException {
            byte[] one = new byte[1];
            return read(one, 0, 1) < 0 ? -1 : one[0] & 0xff;
        }

        @Override
        public int read(byte[] into, int offset, int length) throws IOException {
            Job job = currentJob();
            if (job == null) return -1;
            byte[] chunk = rest.remove(job);
            try {
                if (chunk == null) chunk = job.input.take();
            } catch (InterruptedException e) {
                throw new IOException(e);
            }
            if (chunk.length == 0) {
                job.input.add(chunk); // the end stays the end
                return -1;
            }
            int count = Math.min(length, chunk.length);
            System.arraycopy(chunk, 0, into, offset, count);
            if (count < chunk.length) rest.put(job, Arrays.copyOfRange(chunk, count, chunk.length));
            return count;
        }

        @Override
        public int available() {
            Job job = currentJob();
            byte[] chunk = job == null ? null : rest.get(job);
            if (chunk == null && job != null) chunk = job.input.peek();
            return chunk == null ? 0 : chunk.length;
        }
    }

    /** Loads the main class's package again for each job: the tools keep counts and flags in static fields. */
    static final class FreshPackage extends URLClassLoader {
        final String prefix;

        FreshPackage(URLClassLoader parent, String mainClass) {
            super(parent.getURLs(), parent);
            this.prefix = mainClass.startsWith("org.apache.kafka.tools.") ? "org.apache.kafka.tools."
                : mainClass.contains(".") ? mainClass.substring(0, mainClass.lastIndexOf('.') + 1) : mainClass;
        }

        @Override
        protected Class<?> loadClass(String name, boolean resolve) throws ClassNotFoundException {
            synchronized (getClassLoadingLock(name)) {
                if (!name.startsWith(prefix)) return super.loadClass(name, resolve);
                Class<?> loaded = findLoadedClass(name);
                return loaded != null ? loaded : findClass(name);
            }
        }
    }

    static URLClassLoader loader(String classpath) throws IOException {
        List<URL> urls = new ArrayList<>();
        for (String entry : classpath.split(File.pathSeparator)) {
            if (entry.endsWith("/*")) {
                File[] jars = new File(entry.substring(0, entry.length() - 2)).listFiles((d, n) -> n.endsWith(".jar"));
                if (jars == null) throw new IOException("no folder " + entry);
                Arrays.sort(jars);
                for (File jar : jars) urls.add(jar.toURI().toURL());
            } else {
                urls.add(new File(entry).toURI().toURL());
            }
        }
        URLClassLoader loader = new URLClassLoader(urls.toArray(new URL[0]), ClassLoader.getPlatformClassLoader());
        interceptExit(loader);
        return loader;
    }

    /** The class that ends the process has another package since Kafka 4.4; in jars that are not Kafka's there is none. */
    static void interceptExit(URLClassLoader loader) {
        interceptExit(loader, "org.apache.kafka.common.utils.Exit");
        interceptExit(loader, "org.apache.kafka.common.utils.internals.Exit");
    }

    static void interceptExit(URLClassLoader loader, String name) {
        try {
            Class<?> exit = loader.loadClass(name);
            Class<?> procedure = loader.loadClass(name + "$Procedure");
            Class<?> adder = loader.loadClass(name + "$ShutdownHookAdder");
            Object stop = Proxy.newProxyInstance(loader, new Class<?>[] {procedure}, (self, method, args) -> {
                Job job = currentJob();
                if (job != null) {
                    System.out.flush();
                    System.err.flush();
                    job.exit((Integer) args[0]);
                    job.exited = true;
                }
                throw new ExitError((Integer) args[0]);
            });
            Object add = Proxy.newProxyInstance(loader, new Class<?>[] {adder}, (self, method, args) -> {
                Job job = currentJob();
                if (job != null) synchronized (job.hooks) {
                    job.hooks.add((Runnable) args[1]);
                }
                return null;
            });
            exit.getMethod("setExitProcedure", procedure).invoke(null, stop);
            exit.getMethod("setHaltProcedure", procedure).invoke(null, stop);
            exit.getMethod("setShutdownHookAdder", adder).invoke(null, add);
        } catch (ClassNotFoundException e) {
            // Not in these jars.
        } catch (ReflectiveOperationException e) {
            throw new IllegalStateException(e);
        }
    }

    /** Argument parsers call System.exit directly; where this Java still has security managers, that ends only the job. */
    @SuppressWarnings({"removal", "deprecation"})
    static void forbidExit() {
        if (!"allow".equals(System.getProperty("java.security.manager"))) return;
        System.setSecurityManager(new SecurityManager() {
            @Override
            public void checkExit(int status) {
                Job job = currentJob();
                if (job == null) return;
                System.out.flush();
                System.err.flush();
                job.exit(status);
                job.exited = true;
                throw new ExitError(status);
            }

            @Override
            public void checkPermission(java.security.Permission permission) {
                // everything else is allowed
            }

            @Override
            public void checkPermission(java.security.Permission permission, Object context) {
                // everything else is allowed
            }

            @Override
            public ThreadGroup getThreadGroup() {
                return Thread.currentThread().getThreadGroup();
            }
        });
    }

    static void start(String id, String loaderName, String mainClass, String[] args) {
        Job job = new Job(id);
        JOBS.put(id, job);
        GROUPS.put(job.group, job);
        job.main = new Thread(job.group, () -> {
            try {
                FreshPackage fresh = new FreshPackage(LOADERS.get(loaderName), mainClass);
                Thread.currentThread().setContextClassLoader(fresh);
                Method main = Class.forName(mainClass, true, fresh).getMethod("main", String[].class);
                main.setAccessible(true);
                main.invoke(null, (Object) args);
                awaitThreads(job);
                job.exit(0);
            } catch (InvocationTargetException e) {
                failed(job, e.getCause());
            } catch (Throwable e) {
                failed(job, e);
            } finally {
                job.runHooks();
                System.out.flush();
                System.err.flush();
                finish(job);
            }
        }, "main");
        job.main.setDaemon(true);
        job.main.start();
    }

    static void failed(Job job, Throwable e) {
        if (e instanceof ExitError) return;
        e.printStackTrace();
        job.exit(1);
    }

    static void finish(Job job) {
        if (JOBS.remove(job.id) == null) return;
        tell("exit " + job.id + " " + (job.status == null ? 1 : job.status));
        GROUPS.remove(job.group);
        endThreads(job);
    }

    /**
     * What a process's end does to its threads. An interrupt would not do: a client's loop spins on it for ever. None of
     * them is stopped while it writes a line, because the rest of that line would be missing before the next one.
     */
    static void endThreads(Job job) {
        Thread[] threads = new Thread[64];
        int count = job.group.enumerate(threads);
        synchronized (WIRE) {
            for (int i = 0; i < count; i++) {
                if (threads[i] == Thread.currentThread()) continue;
                try {
                    Thread.class.getMethod("stop").invoke(threads[i]);
                } catch (ReflectiveOperationException e) {
                    return; // this Java cannot; they stay, idle
                }
            }
        }
    }

    /** As SIGTERM does: the hooks run while the program still does; what then does not end is interrupted. */
    static void stop(Job job) {
        Thread stopper = new Thread(() -> {
            job.exit(143);
            job.runHooks();
            try {
                job.main.join(10_000);
            } catch (InterruptedException e) {
                return;
            }
            finish(job);
        });
        stopper.setDaemon(true);
        stopper.start();
    }

    static String text(String base64) {
        return base64.equals("-") ? "" : new String(Base64.getDecoder().decode(base64), StandardCharsets.UTF_8);
    }

    public static void main(String[] ignored) throws IOException {
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
        System.setOut(new PrintStream(new Buffered(new Routed("out")), true, StandardCharsets.UTF_8));
        System.setErr(new PrintStream(new Buffered(new Routed("err")), true, StandardCharsets.UTF_8));
        System.setIn(new RoutedInput());
        forbidExit();
        tell("ready");
        for (String line = commands.readLine(); line != null; line = commands.readLine()) {
            String[] words = line.split(" ");
            Job job = words.length > 1 ? JOBS.get(words[1]) : null;
            switch (words[0]) {
                case "loader" -> LOADERS.put(words[1], loader(text(words[2])));
                case "run" -> start(words[1], words[2], words[3],
                    Arrays.stream(words, 4, words.length).map(ToolServer::text).toArray(String[]::new));
                case "in" -> {
                    if (job != null && words.length > 2) job.input.add(Base64.getDecoder().decode(words[2]));
                }
                case "eof" -> {
                    if (job != null) job.input.add(new byte[0]);
                }
                case "stop" -> {
                    if (job != null) stop(job);
                }
                default -> throw new IOException("unknown command " + words[0]);
            }
        }
        Runtime.getRuntime().halt(0);
    }

    /** A buffer per thread group, emptied at each line end or flush, so that print(char) does not cost a message each. */
    static final class Buffered extends OutputStream {
        final OutputStream to;
        final Map<ThreadGroup, ByteArrayOutputStream> parts = new ConcurrentHashMap<>();

        Buffered(OutputStream to) {
            this.to = to;
        }

        ByteArrayOutputStream part() {
            return parts.computeIfAbsent(Thread.currentThread().getThreadGroup(), group -> new ByteArrayOutputStream());
        }

        @Override
        public void write(int b) throws IOException {
            write(new byte[] {(byte) b}, 0, 1);
        }

        @Override
        public synchronized void write(byte[] bytes, int offset, int length) throws IOException {
            part().write(bytes, offset, length);
            if (part().size() > 8192) flush();
        }

        @Override
        public synchronized void flush() throws IOException {
            ByteArrayOutputStream part = parts.remove(Thread.currentThread().getThreadGroup());
            if (part != null) to.write(part.toByteArray(), 0, part.size());
        }
    }
}
