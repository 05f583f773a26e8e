import java.util.Scanner;
import org.apache.kafka.common.utils.Exit;
import org.apache.kafka.tools.consumer.group.ConsumerGroupCommand;

/**
 * Runs ConsumerGroupCommand for each line of the standard input, its arguments separated by tabs: a process costs more than the command.
 * What it prints on either stream is printed, and after each a line with a form feed.
 */
public final class Commands {
    private Commands() {
    }

    public static void main(String[] arguments) {
        System.setErr(System.out);
        Exit.setExitProcedure((status, message) -> {
            throw new IllegalStateException("it exits with " + status + ": " + message);
        });
        try (Scanner lines = new Scanner(System.in)) {
            while (lines.hasNextLine()) {
                try {
                    ConsumerGroupCommand.main(lines.nextLine().split("\t"));
                } catch (IllegalStateException exit) {
                    System.out.println(exit.getMessage());
                }
                System.out.println("\f");
            }
        }
    }
}
