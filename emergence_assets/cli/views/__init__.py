"""What commands print: tables, trees and progress in the terminal."""
